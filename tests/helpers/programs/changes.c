/* changes FILE: does as it is told, a word a line, and says what it did: words of a line each, then `end`. */
#include "victim.h"
#include <sys/stat.h>

enum { PAGES = 64 };

static char *memory, *untouched, *unmapped, *protected, *shared;
static int kept, closed;
static pthread_mutex_t taken = PTHREAD_MUTEX_INITIALIZER;
static int go_on[2];
static pid_t leaver;
static const char *path;

static void range(const char *what, const char *start, size_t length)
{
    printf("%s %lx %lx\n", what, (unsigned long)start, (unsigned long)start + length);
}

/* Changes of contents. What is said is in the order of addresses in each piece. */
static void writes(void)
{
    memory[0] ^= 1;                                  /* one bit, of the first byte */
    memset(memory + 3 * PAGE, 0, 2 * PAGE);          /* zeros in the place of others, in two pages */
    memory[9 * PAGE - 1] ^= 1;                       /* the last byte of a page */
    memory[20 * PAGE] = memory[20 * PAGE];           /* written, and what it was: no change */
    memory[21 * PAGE + 5]++, memory[21 * PAGE + 5]--;
    madvise(memory + 30 * PAGE, PAGE, MADV_DONTNEED); /* reads as zeros again */
    range("wrote", memory, PAGE);
    range("wrote", memory + 3 * PAGE, 2 * PAGE);
    range("wrote", memory + 8 * PAGE, PAGE);
    range("wrote", memory + 30 * PAGE, PAGE);
    untouched[2 * PAGE] = 1;
    memset(untouched + 5 * PAGE, 0, PAGE);           /* touched, and zeros as before: no change */
    range("wrote", untouched + 2 * PAGE, PAGE);
    shared[7 * PAGE + 100] = 7;
    range("wrote", shared + 7 * PAGE, PAGE);
}

static void maps_and_opens(void)
{
    char *fresh = map(16 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1);
    range("mapped", fresh, 16 * PAGE);
    munmap(unmapped, 16 * PAGE);
    range("unmapped", unmapped, 16 * PAGE);
    mprotect(protected + 4 * PAGE, 2 * PAGE, PROT_READ);
    range("protected", protected + 4 * PAGE, 2 * PAGE);
    close(closed);
    printf("closed %d\n", closed);
    printf("opened %d\n", open("/dev/zero", O_RDONLY));
    printf("seeked %d %ld\n", kept, (long)lseek(kept, 12, SEEK_SET));
}

static void *waits(void *unused)
{
    pthread_mutex_lock(&taken);
    return unused;
}

static void *leaves(void *unused)
{
    char byte;
    leaver = (pid_t)syscall(SYS_gettid);
    return read(go_on[0], &byte, 1) == 1 ? unused : NULL;
}

static pthread_t started(void *(*function)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, function, NULL))
        die("pthread_create");
    return thread;
}

static void *newcomer(void *unused)
{
    printf("started %ld\n", (long)syscall(SYS_gettid));
    fflush(stdout);
    return waits(unused);
}

static void ends_a_thread(pthread_t thread)
{
    if (write(go_on[1], "x", 1) != 1)
        die("write");
    pthread_join(thread, NULL);
    printf("ended %d\n", leaver);
    fflush(stdout);
    started(newcomer);
    usleep(50000);
}

int main(int argc, char **argv)
{
    char line[64];
    path = argc > 1 ? argv[1] : "/dev/null";
    setvbuf(stdout, NULL, _IOFBF, 4096);
    memory = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    fill(memory, PAGES * PAGE, 1);
    shared = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    fill(shared, PAGES * PAGE, 2);
    untouched = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    unmapped = map(16 * PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1);
    protected = map(16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
    closed = open(path, O_RDONLY), kept = open(path, O_RDWR);
    if (pipe(go_on) || kept < 0)
        die("open");
    pthread_mutex_lock(&taken);
    started(waits);
    pthread_t leaving = started(leaves);
    while (!leaver)
        usleep(1000);
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        if (!strcmp(line, "write\n"))
            writes();
        else if (!strcmp(line, "map\n"))
            maps_and_opens();
        else if (!strcmp(line, "threads\n"))
            ends_a_thread(leaving);
        else if (!strcmp(line, "exec\n")) {
            execl("/proc/self/exe", argv[0], path, NULL);
            die("execl");
        }
        puts("end");
        fflush(stdout);
    }
    return 0;
}
