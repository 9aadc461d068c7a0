/* The main thread has ended; another one goes on: proc shows the process as a zombie, which it is not. */
#include "victim.h"

static char kept[65536];

static void *stay(void *unused)
{
    (void)unused;
    for (;;) {
        char state = 0;
        FILE *stat = fopen("/proc/self/stat", "r");
        if (stat && fscanf(stat, "%*d %*s %c", &state) != 1)
            state = 0;
        if (stat)
            fclose(stat);
        if (state == 'Z')
            break;
        usleep(1000);
    }
    say("ready");
    sleep_for_ever();
    return NULL;
}

int main(void)
{
    pthread_t id;
    fill(kept, sizeof kept, 95);
    pthread_create(&id, NULL, stay, NULL);
    pthread_exit(NULL);
}
