#ifndef AIOPCAP_PACKETS_H
#define AIOPCAP_PACKETS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

/* What the parts of the extension module have of each other. */

typedef struct {
    PyObject_HEAD
    PyObject *data;
    PyObject *linktype;
    PyObject *interface;
    PyObject *options;          /* bytes, as in a pcapng block of this machine's byte order, or NULL */
    long long timestamp_ns;
    unsigned int wire_length;
} aiopcap_packet;

extern PyType_Spec aiopcap_packet_spec, aiopcap_rows_spec;
extern PyType_Spec aiopcap_framesocket_spec;
extern PyType_Spec aiopcap_cursor_spec, aiopcap_stream_spec, aiopcap_step_spec;

/* Set when the module is loaded. */
extern PyTypeObject *aiopcap_packet_type, *aiopcap_rows_type, *aiopcap_cursor_type, *aiopcap_step_type;

/* Counts the forks that led to this process; getpid(2) would be a system call for each packet. */
extern unsigned int aiopcap_process;

/* A time for which work goes on; none was begun while the deadline is 0. */
typedef struct {
    int64_t deadline_ns, looked_ns;
    int unlooked;               /* how many more steps go without a look at the clock */
    unsigned int process;
} aiopcap_slice;

void aiopcap_slice_begin(aiopcap_slice *slice, int64_t budget_ns);
int aiopcap_slice_lasts(aiopcap_slice *slice);

int aiopcap_rows_deliver(PyObject *rows);
PyObject *aiopcap_rows_take(PyObject *rows);

#endif
