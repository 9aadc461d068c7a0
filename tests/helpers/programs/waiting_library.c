/* The library of waiting.c. */
#include <unistd.h>

static int waits_in_the_library(int depth)
{
    int local_depth = depth * 100;
    for (;;)
        pause();
    return local_depth;
}

int library_wait(int depth)
{
    if (depth > 0)
        return library_wait(depth - 1) + depth;
    return waits_in_the_library(7);
}
