/* The floor of sending: the packets of a savefile, from memory, as fast as sendmmsg takes them.
 *
 * usage: send_savefile DEVICE FILE [capture]
 *
 * With "capture" they go out by the socket of an open libpcap handle that stamps nanoseconds, as
 * aiopcap's does: the kernel's own work for each packet is then more.
 * FILE is a classic savefile in the byte order of the machine.  The clock starts when all of it is
 * in memory, right before the first call, and stops behind the last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { FILE_HEADER = 24, RECORD_HEADER = 16, CALL = 1024 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        fail(path);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size)
        fail(path);
    fclose(file);
    return bytes;
}

/* Find the frames; the array is as long as a file full of empty ones would need. */
static struct iovec *index_frames(char *bytes, size_t size, size_t *count)
{
    struct iovec *frames = malloc((size / RECORD_HEADER + 1) * sizeof *frames);
    if (frames == NULL)
        fail("malloc");
    *count = 0;
    for (size_t at = FILE_HEADER; at + RECORD_HEADER <= size;) {
        uint32_t captured;
        memcpy(&captured, bytes + at + 8, sizeof captured);
        at += RECORD_HEADER;
        frames[*count].iov_base = bytes + at;
        frames[*count].iov_len = captured;
        at += captured;
        if (at > size)
            break; /* cut off */
        ++*count;
    }
    return frames;
}

static int open_device(const char *device)
{
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = 0};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    address.sll_ifindex = (int)if_nametoindex(device);
    if (fd < 0 || address.sll_ifindex == 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail(device);
    return fd;
}

static int open_capture(const char *device)
{
    char error[PCAP_ERRBUF_SIZE];
    pcap_t *capture = pcap_create(device, error);

    if (capture == NULL || pcap_set_timeout(capture, 1000) < 0 ||
        pcap_set_tstamp_precision(capture, PCAP_TSTAMP_PRECISION_NANO) < 0 ||
        pcap_activate(capture) < 0)
        fail(device);
    return pcap_get_selectable_fd(capture);
}

static void send_all(int fd, struct iovec *frames, size_t count)
{
    static struct mmsghdr messages[CALL];

    for (size_t sent = 0; sent < count;) {
        size_t most = count - sent < CALL ? count - sent : CALL;
        for (size_t i = 0; i < most; ++i) {
            messages[i].msg_hdr.msg_iov = &frames[sent + i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int accepted = sendmmsg(fd, messages, (unsigned)most, 0);
        if (accepted > 0)
            sent += (size_t)accepted;
        else if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
            fail("sendmmsg");
    }
}

int main(int argc, char **argv)
{
    size_t size, count;

    if (argc != 3 && !(argc == 4 && strcmp(argv[3], "capture") == 0)) {
        fprintf(stderr, "usage: %s DEVICE FILE [capture]\n", argv[0]);
        return 2;
    }
    char *bytes = read_file(argv[2], &size);
    struct iovec *frames = index_frames(bytes, size, &count);
    int fd = argc == 4 ? open_capture(argv[1]) : open_device(argv[1]);
    double wall = seconds(CLOCK_MONOTONIC);
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    send_all(fd, frames, count);
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"packets\": %zu, \"seconds\": %.9f, \"cpu\": %.9f}\n", count, wall, cpu);
    return 0;
}
