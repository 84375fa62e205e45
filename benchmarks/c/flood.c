/* Send frames into a device: as fast as sendmmsg can, or one every GAP microseconds.
 *
 * usage: flood DEVICE COUNT small|imix [GAP]
 *
 * Paced frames carry the CLOCK_MONOTONIC time of their sending, in nanoseconds and in the byte
 * order of the machine, behind the Ethernet header.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 14, LONGEST = 1514, BURST = 1020 }; /* a multiple of both patterns' lengths */

static const unsigned char ETHERNET_HEADER[HEADER] = {
    0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02, 0x88, 0xb5, /* for local experiments */
};
static const int SMALL[] = {60};
static const int IMIX[] = {60, 570, 60, 60, 570, 60, 1514, 60, 570, 60, 60, 570};

static unsigned char frame[LONGEST];
static struct iovec parts[BURST];
static struct mmsghdr messages[BURST];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_device(const char *device)
{
    int on = 1;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = 0};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    address.sll_ifindex = (int)if_nametoindex(device);
    if (fd < 0 || address.sll_ifindex == 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror(device);
        exit(1);
    }
    /* Where this is refused, frames go through the queue, which is only slower. */
    (void)setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    return fd;
}

static int try_again(void)
{
    return errno == EINTR || errno == EAGAIN || errno == ENOBUFS;
}

static void burst(int fd, unsigned long count)
{
    for (unsigned long sent = 0; sent < count;) {
        unsigned long most = count - sent < BURST ? count - sent : BURST;
        int accepted = sendmmsg(fd, messages, (unsigned)most, 0);
        if (accepted > 0)
            sent += (unsigned long)accepted;
        else if (!try_again()) {
            perror("sendmmsg");
            exit(1);
        }
    }
}

static void paced(int fd, unsigned long count, uint64_t gap)
{
    uint64_t due = now();

    for (unsigned long sent = 0; sent < count; ++sent) {
        due += gap;
        struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
            ;
        ssize_t accepted;
        do {
            uint64_t stamp = now();
            memcpy(frame + HEADER, &stamp, sizeof stamp);
            accepted = send(fd, frame, parts[sent % BURST].iov_len, 0);
        } while (accepted < 0 && try_again());
        if (accepted < 0) {
            perror("send");
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s DEVICE COUNT small|imix [GAP]\n", argv[0]);
        return 2;
    }
    int is_imix = strcmp(argv[3], "imix") == 0;
    const int *pattern = is_imix ? IMIX : SMALL;
    int length = is_imix ? (int)(sizeof IMIX / sizeof *IMIX) : 1;

    memcpy(frame, ETHERNET_HEADER, HEADER);
    for (int i = 0; i < BURST; ++i) {
        parts[i].iov_base = frame;
        parts[i].iov_len = (size_t)pattern[i % length];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int fd = open_device(argv[1]);
    unsigned long count = strtoul(argv[2], NULL, 10);
    uint64_t start = now();
    if (argc == 5)
        paced(fd, count, strtoull(argv[4], NULL, 10) * 1000);
    else
        burst(fd, count);
    printf("{\"packets\": %lu, \"seconds\": %.9f}\n", count, (double)(now() - start) * 1e-9);
    return 0;
}
