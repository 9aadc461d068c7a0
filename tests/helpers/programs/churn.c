/* Makes threads that end at once, one after the other, without end.
   Each line on standard input is answered by how many there were, then `end`. */
#include "victim.h"

static volatile long made;

static void *end_at_once(void *unused)
{
    return unused;
}

static void *churn(void *unused)
{
    pthread_t id;
    for (;;) {
        if (pthread_create(&id, NULL, end_at_once, NULL))
            continue;
        pthread_join(id, NULL);
        made++;
    }
    return unused;
}

int main(void)
{
    char line[64];
    pthread_t id;
    pthread_create(&id, NULL, churn, NULL);
    pthread_create(&id, NULL, churn, NULL);
    say("ready");
    while (fgets(line, sizeof line, stdin)) {
        printf("%ld\nend\n", made);
        fflush(stdout);
    }
    sleep_for_ever();
}
