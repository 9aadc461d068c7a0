// Receiving what a 9P client sends, and answering the reads among it that can be answered at once: of an open file,
// with bytes that the snapshot has and the kernel has in memory. All else goes to Python (ninep/inbox.py), which could
// answer these, too: then a small read takes 29 us, and so 13 to 17, of which 11 are the client's.
#define _GNU_SOURCE
#include "pages.h"

#include <endian.h>
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    TREAD = 116,
    NO_TAG = 0xffff,
    READ_SIZE = 23,      // size[4] Tread tag[2] fid[4] offset[8] count[4], read(5)
    HEADER = 11,         // size[4] Rread tag[2] count[4]
    LINE = 64,           // bytes: where the data of an answer begin, the kernel copies to it as fast as it can
    PIECE = 128 << 10,   // bytes of a long answer that are sent before the next ones are read
    FIRST = PIECE + LINE - HEADER,  // and of data in its first piece
    FILES = 16,          // that are known at a time
    LOOK = 50000,        // nanoseconds that a thread looks for the next message before it sleeps
    SOON = 100000,       // nanoseconds, being woken up included, within which looking would have found the message
};

// The answer to a read: the whole of it, or the piece of it that is sent next.
typedef struct {
    uint8_t *line;  // in which the header ends; the data follow
    uint64_t room;  // for data
    const Extents *file;
    uint64_t offset, count;
    uint64_t read;  // bytes that were read already, of `plan`
    Plan plan;
} Answer;

typedef struct {
    int fd;
    int may_look;  // there is another processor for the client
    int soon;      // the last message came soon
    uint64_t files;
    uint32_t fid[FILES];
    const Extents *file[FILES];
    Answer answers[2];
    Answer *last, *next;  // the last one sent, and the one that is expected
} Inbox;

// One thread of the process looks, the others sleep.
static atomic_flag looking = ATOMIC_FLAG_INIT;

void inbox_close(Inbox *inbox) {
    free(inbox->answers[0].line);
    free(inbox->answers[1].line);
    free(inbox);
}

Inbox *inbox_open(int fd) {
    Inbox *inbox = calloc(1, sizeof *inbox);
    cpu_set_t processors;
    if (!inbox) return NULL;
    inbox->fd = fd;
    inbox->may_look = sched_getaffinity(0, sizeof processors, &processors) == 0 && CPU_COUNT(&processors) > 1;
    inbox->last = inbox->answers, inbox->next = inbox->answers + 1;
    return inbox;
}

// The files that are open by now, at most FILES, and their fids; those known before are forgotten.
void inbox_know(Inbox *inbox, uint64_t count, const uint32_t *fids, const Extents *const *files) {
    inbox->files = count < FILES ? count : FILES;
    memcpy(inbox->fid, fids, inbox->files * sizeof *fids);
    memcpy(inbox->file, files, inbox->files * sizeof *files);
    inbox->last->file = inbox->next->file = NULL;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

// Some bytes; 0 at the end, or -errno. A client that waits for each answer is back within microseconds, and to be woken
// up costs more than most answers. So if the last message came soon the thread stays awake for as long, and looks.
static int64_t receive(Inbox *inbox, uint8_t *data, uint64_t room, int may_look) {
    ssize_t size = -1;
    errno = EAGAIN;
    if (inbox->soon && may_look && !atomic_flag_test_and_set(&looking)) {
        for (int64_t end = now() + LOOK; size < 0 && errno == EAGAIN && now() < end;) {
            size = recv(inbox->fd, data, room, MSG_DONTWAIT);
            if (size < 0 && errno == EAGAIN) sched_yield(), errno = EAGAIN;  // the client may need this very processor
        }
        atomic_flag_clear(&looking);
        if (size >= 0) return size;
        if (errno != EAGAIN && errno != EINTR) return -errno;
    }
    int64_t began = now();
    do size = recv(inbox->fd, data, room, 0);
    while (size < 0 && errno == EINTR);
    inbox->soon = inbox->may_look && now() - began < SOON;
    return size < 0 ? -errno : size;
}

static int send_all(Inbox *inbox, const uint8_t *data, uint64_t size) {
    while (size) {
        ssize_t sent = send(inbox->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) return -errno;
        if (sent > 0) data += sent, size -= sent;
    }
    return 0;
}

static const Extents *file_of(const Inbox *inbox, uint32_t fid) {
    for (uint64_t k = 0; k < inbox->files; k++)
        if (inbox->fid[k] == fid) return inbox->file[k];
    return NULL;
}

static int is_answer(const Answer *answer, const Extents *file, uint64_t offset, uint64_t count) {
    return answer->file == file && answer->offset == offset && answer->count == count;
}

// Have an answer to a read, and the first piece of it read. 0: it can't be had here, or not without waiting for a disk.
static int prepare(Answer *answer, const Extents *file, uint64_t offset, uint64_t count) {
    uint64_t piece = count < FIRST ? count : FIRST;
    answer->file = NULL;
    if (piece > answer->room) {
        uint8_t *larger = aligned_alloc(LINE, LINE + (piece + LINE - 1) / LINE * LINE);
        if (!larger) return 0;
        free(answer->line);
        answer->line = larger, answer->room = piece;
    }
    if (extents_plan(file, offset, count, &answer->plan) ||
        plan_read(file->pages, &answer->plan, 0, piece, answer->line + LINE, file->pages->flags))
        return 0;
    answer->file = file, answer->offset = offset, answer->count = count, answer->read = piece;
    return 1;
}

// Send an answer. 1: it was sent; 0: it can't be, and nothing was sent; -errno: the connection must end. The last piece
// is sent when the file was seen to be unchanged: what a client has been told whole was right.
//
// The kernel puts what is sent to where a page begins. The second piece and all that follow are copied from there to a
// line past the begin of a page, in a client whose buffer begins with one: AMD's processors (Zen 3) copy at a third of
// their speed to 1 to 31 bytes past it, where they would be with the header alone before them.
static int send_answer(Inbox *inbox, Answer *answer, const uint8_t *tag) {
    const Pages *pages = answer->file->pages;
    uint32_t size = htole32(HEADER + answer->count), payload = htole32(answer->count);
    uint8_t *data = answer->line + LINE, *header = data - HEADER;
    memcpy(header, &size, 4), header[4] = TREAD + 1, memcpy(header + 5, tag, 2), memcpy(header + 7, &payload, 4);
    if (!pages_unchanged(pages)) return 0;
    int error = send_all(inbox, header, HEADER + answer->read);
    for (uint64_t part; !error && answer->read < answer->count; answer->read += part) {
        part = answer->count - answer->read < PIECE ? answer->count - answer->read : PIECE;
        if (plan_read(pages, &answer->plan, answer->read, part, data, 0)) return -EIO;
        if (answer->read + part == answer->count && !pages_unchanged(pages)) return -EIO;
        error = send_all(inbox, data, part);
    }
    return error ? error : 1;
}

// Answer a request of READ_SIZE bytes with at most `most` bytes; returns as `send_answer` does. A client that reads on
// where it has read will go on so: while it takes what was sent, the beginning of what it asks for next is read.
static int answer_read(Inbox *inbox, const uint8_t *request, uint32_t most) {
    uint32_t size, fid, count;
    uint64_t offset;
    uint16_t tag;
    memcpy(&size, request, 4), memcpy(&tag, request + 5, 2), memcpy(&fid, request + 7, 4);
    memcpy(&offset, request + 11, 8), memcpy(&count, request + 19, 4);
    size = le32toh(size), tag = le16toh(tag), fid = le32toh(fid), offset = le64toh(offset), count = le32toh(count);
    if (size != READ_SIZE || request[4] != TREAD || tag == NO_TAG) return 0;
    const Extents *file = file_of(inbox, fid);
    if (count > most) count = most;
    if (!file || !count || count > UINT64_MAX - offset) return 0;

    const Answer *last = inbox->last;
    int reads_on = last->file == file && last->count == count && last->offset + count == offset;
    if (!is_answer(inbox->next, file, offset, count) && !prepare(inbox->next, file, offset, count)) return 0;
    int done = send_answer(inbox, inbox->next, request + 5);
    if (done <= 0) {
        inbox->next->file = NULL;
        return done;
    }
    Answer *sent = inbox->next;
    inbox->next = inbox->last, inbox->last = sent, inbox->next->file = NULL;
    if (reads_on) prepare(inbox->next, file, offset + count, count);
    return 1;
}

// Receive up to `room` bytes for Python; 0 at the end, or -errno. Before, reads are answered with at most `most` bytes
// each, none if that is 0. `may_look`: before it sleeps.
int64_t inbox_receive(Inbox *inbox, uint8_t *data, uint64_t room, uint32_t most, int may_look) {
    for (;;) {
        int64_t size = receive(inbox, data, room, may_look), at = 0;
        if (size <= 0) return size;
        while (most && size - at >= READ_SIZE) {
            int done = answer_read(inbox, data + at, most);
            if (done < 0) return done;
            if (!done) break;
            at += READ_SIZE;
        }
        if (at < size) {
            memmove(data, data + at, size - at);
            return size - at;
        }
    }
}
