/* Loads every library named. usage: libraries FILE... (or @LIST, a file with a name in each line) */
#include "victim.h"
#include <dlfcn.h>

static void load(const char *name)
{
    if (!dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '@') {
            load(argv[i]);
            continue;
        }
        char line[4096];
        FILE *list = fopen(argv[i] + 1, "r");
        if (!list)
            die(argv[i]);
        while (fgets(line, sizeof line, list)) {
            line[strcspn(line, "\n")] = 0;
            load(line);
        }
        fclose(list);
    }
    say("ready");
    sleep_for_ever();
}
