// Reading many small files in one call: those of /proc/PID. Python gives its interpreter away for each of the three or
// four system calls that a file takes, and where another thread has work must wait for it each time.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

// Read files of a directory whole, one after the other, into `room` bytes at `out`; `names` end with a NUL each. Says of
// each how large it is, or -errno. Returns for how many: less than `count` when there was no room for the next one.
uint64_t files_read(int directory, const char *names, uint64_t count, uint8_t *out, uint64_t room, int64_t *sizes) {
    uint64_t at = 0;
    for (uint64_t k = 0; k < count; k++, names += strlen(names) + 1) {
        int fd = openat(directory, names, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            sizes[k] = -errno;
            continue;
        }
        uint64_t end = at;
        ssize_t size = 1;
        while (size > 0 && end < room) {
            size = read(fd, out + end, room - end);
            if (size > 0) end += size;
        }
        int error = errno;
        close(fd);
        if (end == room) return k;  // it may go on
        sizes[k] = size < 0 ? -error : (int64_t)(end - at);
        if (size == 0) at = end;
    }
    return count;
}
