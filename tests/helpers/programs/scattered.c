/* Forty pages, each a gigabyte from the next: they cannot be joined to few segments at a small price. */
#include "victim.h"

int main(void)
{
    char *p = map(40 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    madvise(p, 40 * GIB, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 40; i++)
        fill(p + i * GIB, PAGE, 200 + i);
    say("ready");
    sleep_for_ever();
}
