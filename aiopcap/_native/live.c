/*
 * Reading a live, non-blocking handle: one call copies what the kernel has ready, up to a batch.
 *
 * libpcap hands out packets through a callback, and the memory it shows them in is the kernel's
 * ring: it is gone when the callback returns.  So the callback copies, and nothing else.
 */
#include "live.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <sys/socket.h>
#endif

/* What one dispatch may still put behind the point at which the callback asks it to stop. */
enum { SLL2_INTERFACE_OFFSET = 4, SLL2_HEADER_LENGTH = 20 };

typedef struct {
    pcap_t *handle;
    aiopcap_batch *batch;
    size_t stop_at;
    uint32_t ns_per_fraction;
    int linktype;
} live_reader;

static uint32_t sll2_interface(const u_char *data, uint32_t length)
{
    if (length < SLL2_HEADER_LENGTH)
        return AIOPCAP_NO_INTERFACE;
    data += SLL2_INTERFACE_OFFSET;
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void copy_packet(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    live_reader *reader = (live_reader *)(void *)user;
    aiopcap_batch *batch = reader->batch;
    uint32_t row = batch->count;
    size_t room = batch->size - batch->used;
    uint32_t length = header->caplen <= room ? header->caplen : (uint32_t)room;

    if (row >= batch->capacity)
        return;
    memcpy(batch->data + batch->used, data, length);
    batch->timestamps_ns[row] = (int64_t)header->ts.tv_sec * 1000000000
                                + (int64_t)header->ts.tv_usec * reader->ns_per_fraction;
    batch->offsets[row] = (uint32_t)batch->used;
    batch->captured_lengths[row] = length;
    batch->wire_lengths[row] = header->len;
    batch->interfaces[row] = reader->linktype == DLT_LINUX_SLL2 ? sll2_interface(data, length)
                                                                : AIOPCAP_NO_INTERFACE;
    batch->used += length;
    batch->count = row + 1;
    /*
     * There is room for one more packet of any size, not for two: libpcap must stop here.  In
     * non-blocking mode its break flag costs no system call, and the packets it had not shown yet
     * stay in the ring.
     */
    if (batch->used > reader->stop_at)
        pcap_breakloop(reader->handle);
}

/*
 * Fill a batch with what is ready now.  Returns 0, or libpcap's negative status; even then the
 * batch holds the packets that came before the error, as pcap_dispatch may show packets and fail
 * in the same call.
 */
int aiopcap_read_live(pcap_t *handle, aiopcap_batch *batch, uint32_t max_packets,
                      uint32_t ns_per_fraction)
{
    size_t largest = (size_t)pcap_snapshot(handle) + 256;
    live_reader reader = {handle, batch, 0, ns_per_fraction, pcap_datalink(handle)};
    uint32_t limit = max_packets < batch->capacity ? max_packets : batch->capacity;

    batch->count = 0;
    batch->used = 0;
    if (batch->size < largest)
        return PCAP_ERROR;
    reader.stop_at = batch->size - largest;
    while (batch->count < limit && batch->used <= reader.stop_at) {
        int status;

        errno = 0;
        status = pcap_dispatch(handle, (int)(limit - batch->count), copy_packet,
                               (u_char *)(void *)&reader);
        if (status == PCAP_ERROR_BREAK)
            continue;
        /* Netfilter queues do not know libpcap's non-blocking mode: to them, empty is an error. */
        if (status == PCAP_ERROR && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (status < 0)
            return status;
        if (status == 0)
            break;
    }
    return 0;
}

/* Have the kernel, and only the kernel, run a program; returns 0 or an errno. */
int aiopcap_attach_filter(int fd, const struct bpf_program *program)
{
#ifdef SO_ATTACH_FILTER
    struct sock_fprog attached;

    if (program->bf_len > USHRT_MAX)
        return E2BIG;
    attached.len = (unsigned short)program->bf_len;
    /* The same layout under two names. */
    attached.filter = (struct sock_filter *)(void *)program->bf_insns;
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached) == 0 ? 0
                                                                                          : errno;
#else
    (void)fd;
    (void)program;
    return EOPNOTSUPP;
#endif
}

int aiopcap_set_fanout(int fd, uint32_t value)
{
#ifdef PACKET_FANOUT
    return setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof value) == 0 ? 0 : errno;
#else
    (void)fd;
    (void)value;
    return EOPNOTSUPP;
#endif
}
