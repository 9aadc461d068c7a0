/* Memory whose missing pages the program itself must fill in: whoever reads one waits for ever.
   After `ready` comes the address of 256 pages of which the first 4 are there; `none` where the kernel has no such thing. */
#include "victim.h"
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

int main(void)
{
    char *p = anonymous(256 * PAGE);
    int fd = (int)syscall(SYS_userfaultfd, 0);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {
        .range = {(unsigned long)p, 256 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    fill(p, 4 * PAGE, 96);
    say("ready");
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
        printf("none\n");
    else
        printf("%#lx\n", (unsigned long)p);
    fflush(stdout);
    sleep_for_ever();
}
