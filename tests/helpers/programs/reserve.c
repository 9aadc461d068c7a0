/* Reserves much and touches little. usage: reserve none|noaccess|noreserve [GIBS]
   none: nothing; noaccess: PROT_NONE; noreserve: readable, MAP_NORESERVE, one page in the middle touched. */
#include "victim.h"

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "none";
    size_t length = (argc > 2 ? (size_t)atol(argv[2]) : 1024) * GIB;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    char *small = anonymous(MIB);
    fill(small, MIB, 90);
    if (!strcmp(kind, "noaccess"))
        map(length, PROT_NONE, flags, -1);
    if (!strcmp(kind, "noreserve")) {
        char *p = map(length, PROT_READ | PROT_WRITE, flags, -1);
        madvise(p, length, MADV_NOHUGEPAGE);
        fill(p + length / 2, PAGE, 91);
        say("ready");
        printf("%#lx\n", (unsigned long)p);
        fflush(stdout);
        sleep_for_ever();
    }
    say("ready");
    sleep_for_ever();
}
