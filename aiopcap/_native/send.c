/*
 * Sending rows of a batch, as fast as the device takes them or at the times they are due.
 *
 * Nothing here blocks on the device: when it takes no more, the call says so and comes back.  The
 * only waiting is for a row's time, and no longer than the horizon.  Times are kept against the
 * start of the schedule, never against the row before: so being late once is not being late for
 * ever.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "send.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/socket.h>
#endif

/* One system call's worth: what the kernel reads of it stays in the processor's first cache. */
enum { ROWS_A_CALL = 256 };

/* Two thousand years, in nanoseconds: a schedule beyond is one that never comes. */
#define FOREVER_NS ((int64_t)1 << 62)

/* ---- one system call --------------------------------------------------------------------------- */

int aiopcap_send_frame(pcap_t *handle, int fd, const uint8_t *frame, size_t length)
{
    if (length == 0 || length > INT_MAX)
        return length == 0 ? EINVAL : EMSGSIZE;
#ifdef __linux__
    if (fd >= 0) {
        ssize_t sent;

        do
            sent = send(fd, frame, length, MSG_DONTWAIT);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? errno : 0;
    }
#else
    (void)fd;
#endif
    /* libpcap leaves errno as the system set it, or does not touch it and has only a text. */
    errno = 0;
    if (pcap_inject(handle, frame, length) >= 0)
        return 0;
    return errno ? errno : -1;
}

/* The rows of one system call, which only differ in where their bytes are. */
typedef struct {
#ifdef __linux__
    struct mmsghdr messages[ROWS_A_CALL];
    struct iovec frames[ROWS_A_CALL];
#endif
    uint32_t prepared;
} call;

#ifdef __linux__
static void prepare(call *rows, uint32_t count)
{
    for (; rows->prepared < count; rows->prepared++) {
        struct mmsghdr *message = &rows->messages[rows->prepared];

        memset(message, 0, sizeof *message);
        message->msg_hdr.msg_iov = &rows->frames[rows->prepared];
        message->msg_hdr.msg_iovlen = 1;
    }
}
#endif

/* Send rows from next on; returns how many went, and an errno where not even the first did. */
static uint32_t send_rows(const aiopcap_transmission *run, const aiopcap_batch *batch, call *rows,
                          uint32_t count, int *error)
{
    const uint8_t *data = batch->data;
    uint32_t first = run->next;

    *error = 0;
#ifdef __linux__
    if (run->fd >= 0 && count > 1) {
        const uint32_t *offsets = batch->offsets + first;
        const uint32_t *lengths = batch->captured_lengths + first;
        uint32_t i;
        int sent;

        prepare(rows, count);
        for (i = 0; i < count; i++) {
            /* The kernel only reads it. */
            rows->frames[i].iov_base = (void *)(uintptr_t)(data + offsets[i]);
            rows->frames[i].iov_len = lengths[i];
        }
        do
            sent = sendmmsg(run->fd, rows->messages, count, MSG_DONTWAIT);
        while (sent < 0 && errno == EINTR);
        if (sent < 0)
            *error = errno;
        return sent < 0 ? 0 : (uint32_t)sent;
    }
#else
    (void)rows;
#endif
    *error = aiopcap_send_frame(run->handle, run->fd, data + batch->offsets[first],
                                batch->captured_lengths[first]);
    (void)count;
    return *error == 0;
}

/* ---- the schedule ------------------------------------------------------------------------------ */

static int64_t scaled(double units, double ns_per_unit)
{
    double ns = units * ns_per_unit;

    if (ns >= (double)FOREVER_NS)
        return FOREVER_NS;
    return ns <= -(double)FOREVER_NS ? -FOREVER_NS : (int64_t)ns;
}

static int64_t due_ns(const aiopcap_transmission *run, const aiopcap_batch *batch, uint32_t row,
                      int64_t units)
{
    double distance = (double)units;
    int64_t delta;

    if (run->pace == AIOPCAP_PACE_TIMESTAMPS) {
        if (__builtin_sub_overflow(batch->timestamps_ns[row], run->origin_ns, &delta))
            delta = batch->timestamps_ns[row] < 0 ? -FOREVER_NS : FOREVER_NS;
        /* A double has room for a hundred days of nanoseconds, and here nothing is scaled. */
        if (run->ns_per_unit == 1.0 && delta < FOREVER_NS && delta > -FOREVER_NS)
            return run->start_ns + delta;
        distance = (double)delta;
    }
    return run->start_ns + scaled(distance, run->ns_per_unit);
}

/* How much of the schedule a row takes. */
static int64_t units_of(const aiopcap_transmission *run, const aiopcap_batch *batch, uint32_t row)
{
    return run->pace == AIOPCAP_PACE_BYTES ? batch->captured_lengths[row] : 1;
}

static void sleep_until(int64_t until_ns)
{
#if defined(__linux__) || defined(__FreeBSD__) || defined(__NetBSD__)
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
#else
    int64_t left = until_ns - aiopcap_monotonic_ns();
    struct timespec span = {(time_t)(left / 1000000000), (long)(left % 1000000000)};

    if (left > 0)
        nanosleep(&span, NULL);
#endif
}

/*
 * A sleep may end much later than asked, by how much changes with the machine's mood; spinning is
 * exact, and takes a processor.  So sleep until a margin before, and let the margin follow what the
 * sleeps have been doing, within its bounds.
 */
static void learn_margin(aiopcap_transmission *run, int64_t overshoot)
{
    int64_t margin = run->spin_ns - run->spin_ns / 64;

    if (margin < 2 * overshoot)
        margin = 2 * overshoot;
    if (margin < run->least_spin_ns)
        margin = run->least_spin_ns;
    run->spin_ns = margin > run->most_spin_ns ? run->most_spin_ns : margin;
}

static int wait_until(aiopcap_transmission *run, int64_t due)
{
    int64_t now = aiopcap_monotonic_ns();

    while (now < due) {
        if (run->stop)
            return AIOPCAP_SEND_STOPPED;
        if (due - now > run->spin_ns) {
            int64_t until = due - run->spin_ns;

            sleep_until(until);
            now = aiopcap_monotonic_ns();
            if (now > until)
                learn_margin(run, now - until);
        } else {
            now = aiopcap_monotonic_ns();
        }
    }
    return AIOPCAP_SENT_ALL;
}

/* ---- a batch ----------------------------------------------------------------------------------- */

static int is_inside(const aiopcap_batch *batch, uint32_t row)
{
    size_t offset = batch->offsets[row];

    return offset <= batch->used && batch->captured_lengths[row] <= batch->used - offset;
}

static int is_skipped(const aiopcap_transmission *run, const aiopcap_batch *batch, uint32_t row)
{
    return !run->send_truncated && batch->captured_lengths[row] < batch->wire_lengths[row];
}

/* How many rows from next on go out together: all that are due, and fine. */
static uint32_t due_rows(const aiopcap_transmission *run, const aiopcap_batch *batch,
                         uint32_t most)
{
    int64_t now = run->pace == AIOPCAP_PACE_NONE ? 0 : aiopcap_monotonic_ns();
    int64_t units = run->units;
    uint32_t count = 0;

    if (most > batch->count - run->next)
        most = batch->count - run->next;
    if (most > ROWS_A_CALL)
        most = ROWS_A_CALL;
    while (count < most) {
        uint32_t row = run->next + count;

        if (is_skipped(run, batch, row) || !is_inside(batch, row)
            || batch->captured_lengths[row] == 0)
            break;
        if (run->pace != AIOPCAP_PACE_NONE && count > 0 && due_ns(run, batch, row, units) > now)
            break;
        units += units_of(run, batch, row);
        count++;
    }
    return count;
}

static void count_sent(aiopcap_transmission *run, const aiopcap_batch *batch, uint32_t count)
{
    uint32_t row, end = run->next + count;
    uint64_t nbytes = 0;

    for (row = run->next; row < end; row++) {
        nbytes += batch->captured_lengths[row];
        if (run->pace != AIOPCAP_PACE_NONE) {
            int64_t due = due_ns(run, batch, row, run->units);

            if (due > run->latest_due_ns)
                run->latest_due_ns = due;
            run->units += units_of(run, batch, row);
        }
    }
    run->nbytes += nbytes;
    run->next = end;
    run->last_ns = aiopcap_monotonic_ns();
    run->packets += count;
}

/* What is repeated begins where the pass before ended, and so does not drift either. */
static void begin(aiopcap_transmission *run, const aiopcap_batch *batch)
{
    int64_t timestamp = batch->timestamps_ns[run->next];

    if (run->start_ns == 0) {
        run->start_ns = run->began_ns = run->latest_due_ns = aiopcap_monotonic_ns();
        run->origin_ns = timestamp;
    } else if (run->begins_pass && run->pace == AIOPCAP_PACE_TIMESTAMPS) {
        run->start_ns = run->latest_due_ns;
        run->origin_ns = timestamp;
    }
    run->begins_pass = 0;
}

/* Wait for the time of the next row, where it has one. */
static int await_next(aiopcap_transmission *run, const aiopcap_batch *batch)
{
    int64_t due;

    begin(run, batch);
    if (run->pace == AIOPCAP_PACE_NONE)
        return AIOPCAP_SENT_ALL;
    due = due_ns(run, batch, run->next, run->units);
    if (due - aiopcap_monotonic_ns() > run->horizon_ns) {
        run->due_ns = due;
        return AIOPCAP_SEND_LATER;
    }
    return wait_until(run, due);
}

static int send_due(aiopcap_transmission *run, const aiopcap_batch *batch, call *rows,
                    uint32_t most)
{
    uint32_t count = due_rows(run, batch, most), sent = 0;
    int error = is_inside(batch, run->next) ? EINVAL : EFAULT;
    int64_t begun = run->packets == 0 ? aiopcap_monotonic_ns() : 0;

    if (count > 0)
        sent = send_rows(run, batch, rows, count, &error);
    count_sent(run, batch, sent);
    /*
     * The first packet takes 10 to 50 us, and all others one or two: everything is cold.  It left
     * in the middle of that, and there the schedule begins.
     */
    if (begun && sent > 0)
        run->start_ns = run->latest_due_ns = begun + (run->last_ns - begun) / 2;
    if (sent > 0)
        return AIOPCAP_SENT_ALL;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return AIOPCAP_SEND_FULL;
    if (error == ENOBUFS)
        return AIOPCAP_SEND_BUSY;
    run->error = error;
    return AIOPCAP_SEND_FAILED;
}

static int transmit(aiopcap_transmission *run, const aiopcap_batch *batch)
{
    uint64_t enough = run->packets + run->quota;
    call rows;

    rows.prepared = 0;
    while (run->next < batch->count) {
        int status;

        if (run->stop)
            return AIOPCAP_SEND_STOPPED;
        if (is_skipped(run, batch, run->next)) {
            run->truncated++;
            run->next++;
            continue;
        }
        if (run->packets >= enough)
            return AIOPCAP_SEND_MORE;
        status = await_next(run, batch);
        if (status == AIOPCAP_SENT_ALL)
            status = send_due(run, batch, &rows, (uint32_t)(enough - run->packets));
        if (status != AIOPCAP_SENT_ALL)
            return status;
    }
    return AIOPCAP_SENT_ALL;
}

/* Send the rows from next on, until there is a reason to come back. */
int aiopcap_transmit(aiopcap_transmission *run, const aiopcap_batch *batch)
{
    int status;
#ifdef __linux__
    /* A thread's sleeps are 50 us longer than asked by default, to wake several at once. */
    int slack = run->pace == AIOPCAP_PACE_NONE ? -1 : prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);

    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
#endif
    run->error = 0;
    status = transmit(run, batch);
#ifdef __linux__
    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0, 0, 0);
#endif
    return status;
}

/* The first row whose time stamp is before that of the row before it; count where none is. */
uint32_t aiopcap_first_disorder(const aiopcap_batch *batch, uint32_t first, int64_t after_ns)
{
    uint32_t row;

    for (row = first; row < batch->count; row++) {
        if (batch->timestamps_ns[row] < after_ns)
            return row;
        after_ns = batch->timestamps_ns[row];
    }
    return batch->count;
}
