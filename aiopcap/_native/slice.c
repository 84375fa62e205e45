/* How long work goes on before the event loop has its turn. */
#include "packets.h"

#include "clock.h"

/*
 * To look at the clock costs a tenth of what a packet does.  So when the last ones were quick, a
 * few go without; should the next be slow, it is one of few.
 */
enum { STEPS_A_LOOK = 4, QUICK_NS = 20000 };

void aiopcap_slice_begin(aiopcap_slice *slice, int64_t budget_ns)
{
    slice->looked_ns = aiopcap_monotonic_ns();
    slice->deadline_ns = slice->looked_ns + budget_ns;
    slice->unlooked = 0;
    slice->process = aiopcap_process;
}

int aiopcap_slice_lasts(aiopcap_slice *slice)
{
    int64_t now;

    /* What was begun is its own process's, not that of a fork. */
    if (slice->deadline_ns == 0 || slice->process != aiopcap_process)
        return 0;
    if (slice->unlooked-- > 0)
        return 1;
    now = aiopcap_monotonic_ns();
    slice->unlooked = now - slice->looked_ns < QUICK_NS ? STEPS_A_LOOK - 1 : 0;
    slice->looked_ns = now;
    return now < slice->deadline_ns;
}
