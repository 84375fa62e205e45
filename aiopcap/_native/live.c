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

enum { SLL2_INTERFACE_OFFSET = 4, SLL2_HEADER_LENGTH = 20, RECORD_HEADER = 16 };

/* One call's packets: where they go, how many and how long they are, and how many may follow. */
typedef struct {
    pcap_t *handle;
    uint8_t *out;
    size_t size, used, stop_at;
    uint32_t count, limit;
    uint32_t ns_per_fraction;
    int linktype;
    aiopcap_batch *batch;      /* for packets: their rows */
    uint32_t ns_per_unit;      /* for records: what their time stamps count */
} live_reader;

static uint32_t sll2_interface(const u_char *data, uint32_t length)
{
    if (length < SLL2_HEADER_LENGTH)
        return AIOPCAP_NO_INTERFACE;
    data += SLL2_INTERFACE_OFFSET;
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static void advance(live_reader *reader, size_t length)
{
    reader->used += length;
    reader->count++;
    /*
     * There is room for one more packet of any size, not for two: libpcap must stop here.  In
     * non-blocking mode its break flag costs no system call, and the packets it had not shown yet
     * stay in the ring.
     */
    if (reader->used > reader->stop_at)
        pcap_breakloop(reader->handle);
}

static void copy_packet(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    live_reader *reader = (live_reader *)(void *)user;
    aiopcap_batch *batch = reader->batch;
    uint32_t row = reader->count;
    size_t room = reader->size - reader->used;
    uint32_t length = header->caplen <= room ? header->caplen : (uint32_t)room;

    if (row >= reader->limit)
        return;
    memcpy(reader->out + reader->used, data, length);
    batch->timestamps_ns[row] = (int64_t)header->ts.tv_sec * 1000000000
                                + (int64_t)header->ts.tv_usec * reader->ns_per_fraction;
    batch->offsets[row] = (uint32_t)reader->used;
    batch->captured_lengths[row] = length;
    batch->wire_lengths[row] = header->len;
    batch->interfaces[row] = reader->linktype == DLT_LINUX_SLL2 ? sll2_interface(data, length)
                                                                : AIOPCAP_NO_INTERFACE;
    advance(reader, length);
}

static void copy_record(u_char *user, const struct pcap_pkthdr *header, const u_char *data)
{
    live_reader *reader = (live_reader *)(void *)user;
    uint8_t *out = reader->out + reader->used;
    size_t room = reader->size - reader->used;
    uint32_t length = header->caplen;
    uint32_t fields[4];

    if (reader->count >= reader->limit || room < RECORD_HEADER)
        return;
    if (length > room - RECORD_HEADER)
        length = (uint32_t)(room - RECORD_HEADER);
    fields[0] = (uint32_t)header->ts.tv_sec;
    fields[1] = (uint32_t)header->ts.tv_usec * reader->ns_per_fraction / reader->ns_per_unit;
    fields[2] = length;
    fields[3] = header->len;
    memcpy(out, fields, sizeof fields);
    memcpy(out + RECORD_HEADER, data, length);
    advance(reader, RECORD_HEADER + length);
}

/*
 * Have what is ready now copied, up to the limits.  Returns 0, or libpcap's negative status; even
 * then there may be packets that came before the error, as pcap_dispatch may show packets and fail
 * in the same call.
 */
static int read_ready(live_reader *reader, pcap_handler copy, size_t largest)
{
    if (reader->size < largest)
        return PCAP_ERROR;
    reader->stop_at = reader->size - largest;
    while (reader->count < reader->limit && reader->used <= reader->stop_at) {
        int status;

        errno = 0;
        status = pcap_dispatch(reader->handle, (int)(reader->limit - reader->count), copy,
                               (u_char *)(void *)reader);
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

/* The most bytes that one packet takes. */
static size_t largest_packet(pcap_t *handle)
{
    return (size_t)pcap_snapshot(handle) + 256;
}

/* Fill a batch with what is ready now; returns as read_ready. */
int aiopcap_read_live(pcap_t *handle, aiopcap_batch *batch, uint32_t max_packets,
                      uint32_t ns_per_fraction)
{
    live_reader reader = {.handle = handle, .out = batch->data, .size = batch->size};
    int status;

    reader.limit = max_packets < batch->capacity ? max_packets : batch->capacity;
    reader.ns_per_fraction = ns_per_fraction;
    reader.linktype = pcap_datalink(handle);
    reader.batch = batch;
    status = read_ready(&reader, copy_packet, largest_packet(handle));
    batch->count = reader.count;
    batch->used = reader.used;
    return status;
}

/* Write what is ready now as records of a pcap file; returns as read_ready. */
int aiopcap_record_live(pcap_t *handle, uint8_t *out, size_t size, uint32_t max_packets,
                        uint32_t ns_per_fraction, int nanoseconds, uint32_t *count, size_t *used)
{
    live_reader reader = {.handle = handle, .out = out, .size = size, .limit = max_packets};
    int status;

    reader.ns_per_fraction = ns_per_fraction;
    reader.ns_per_unit = nanoseconds ? 1 : 1000;
    status = read_ready(&reader, copy_record, RECORD_HEADER + largest_packet(handle));
    *count = reader.count;
    *used = reader.used;
    return status;
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
