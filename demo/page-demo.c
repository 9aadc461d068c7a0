/* A program that hangs: two threads wait for each other's lock, a third for a line that never comes.
 * It stands for the program that hangs on your machine, with threads and shared libraries. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static pthread_mutex_t fonts = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t pages = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t both_hold;
static int input[2];
static char *document;

static void *layout(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "layout");
    pthread_mutex_lock(&fonts);
    pthread_barrier_wait(&both_hold);
    pthread_mutex_lock(&pages); /* held by render: here it hangs */
    return NULL;
}

static void *render(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "render");
    pthread_mutex_lock(&pages);
    pthread_barrier_wait(&both_hold);
    pthread_mutex_lock(&fonts); /* held by layout: here it hangs */
    return NULL;
}

static void *reader(void *unused) {
    char line[80] = "%!PS-Adobe-3.0: page 3 of the document that never came";
    (void)unused;
    pthread_setname_np(pthread_self(), "reader");
    if (read(input[0], line, sizeof line) < 0) return NULL;
    return NULL;
}

int main(void) {
    void *(*const work[])(void *) = {layout, render, reader};
    pthread_t threads[3];
    /* Ubuntu lets a process be traced by its ancestors alone, unless it says otherwise. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    dlopen("libz.so.1", RTLD_NOW);
    dlopen("libssl.so.3", RTLD_NOW);
    document = malloc(4 << 20);
    for (size_t at = 0; at + 64 < 4 << 20; at += 64)
        snprintf(document + at, 64, "(%.6f) show %% line %zu of page 2", sin((double)at), at / 64);
    if (pipe(input) != 0 || pthread_barrier_init(&both_hold, NULL, 2) != 0) return 1;
    for (int n = 0; n < 3; n++) pthread_create(&threads[n], NULL, work[n], NULL);
    puts("ready");
    fflush(stdout);
    for (int n = 0; n < 3; n++) pthread_join(threads[n], NULL);
    return 0;
}
