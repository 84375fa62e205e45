#ifndef AIOPCAP_SEND_H
#define AIOPCAP_SEND_H

#include <pcap/pcap.h>

#include "batch.h"
#include "clock.h"

/* What paces: nothing, the rows' time stamps, their number, or their bytes. */
#define AIOPCAP_PACE_NONE 0
#define AIOPCAP_PACE_TIMESTAMPS 1
#define AIOPCAP_PACE_PACKETS 2
#define AIOPCAP_PACE_BYTES 3

/* Why a call came back. */
#define AIOPCAP_SENT_ALL 0
#define AIOPCAP_SEND_MORE 1     /* as many as one call may send */
#define AIOPCAP_SEND_LATER 2    /* the next is due at due_ns, beyond the horizon */
#define AIOPCAP_SEND_FULL 3     /* the socket's buffer is full: wait until it is writable */
#define AIOPCAP_SEND_BUSY 4     /* the device's queue is full, which no descriptor tells */
#define AIOPCAP_SEND_STOPPED 5
#define AIOPCAP_SEND_FAILED 6   /* error says why, and next which row */

/* Rows on their way out: where to, when, and how far.  All times are of CLOCK_MONOTONIC. */
typedef struct {
    pcap_t *handle;             /* sends where fd is no packet socket */
    int fd;                     /* a packet socket, or -1 */
    int pace;
    double ns_per_unit;         /* of time stamp, packets or bytes */
    int64_t start_ns;           /* when the schedule began; 0 until the first row is due */
    int64_t origin_ns;          /* the time stamp that start_ns stands for */
    int64_t units;              /* packets or bytes of the schedule that were sent */
    int64_t horizon_ns;         /* do not wait longer than this here */
    int64_t least_spin_ns;      /* how long before a row is due sleeping ends at the latest, ... */
    int64_t most_spin_ns;       /* ... and at the soonest */
    int64_t spin_ns;
    int send_truncated;
    uint32_t quota;             /* the most rows of one call */
    /* where it is */
    uint32_t next;
    int begins_pass;            /* time stamps count from the next row that is sent on */
    int64_t due_ns;
    int64_t latest_due_ns;
    int64_t began_ns;           /* when the first row was sent */
    int64_t last_ns;            /* when the last one was */
    volatile uint64_t packets, nbytes, truncated;
    volatile int stop;          /* set by another thread */
    int error;                  /* an errno (EFAULT: a row outside the data), or -1: ask libpcap */
} aiopcap_transmission;

int aiopcap_transmit(aiopcap_transmission *run, const aiopcap_batch *batch);
int aiopcap_send_frame(pcap_t *handle, int fd, const uint8_t *frame, size_t length);
uint32_t aiopcap_first_disorder(const aiopcap_batch *batch, uint32_t first, int64_t after_ns);

#endif
