/* A parent in state D: vfork(2) does not return while the child, which says `ready`, sleeps. */
#include "victim.h"

static uint64_t memory[8192];

int main(void)
{
    fill(memory, sizeof memory, 70);
    if (vfork() == 0) {
        say("ready");
        for (;;)
            pause();
    }
    return 0;
}
