/*
 * Packet objects, made from the rows of a batch.
 *
 * This is the one place where time is spent for each packet in Python's own terms: a loop over
 * packets in pure Python costs 0.4 us for each, this 0.1.  The rest of the native code knows
 * nothing of Python, and cffi compiles it; this is a plain extension module, as cffi makes no
 * types.
 */
#include "packets.h"

#include <stdint.h>
#include <structmember.h>

#define NO_INTERFACE UINT32_MAX

enum { DATA, TIMESTAMPS, OFFSETS, CAPTURED, WIRE, INTERFACES, OPTIONS, BUFFERS };

/*
 * An iterator over the rows of a batch.  Its budget of nanoseconds bounds how long it goes on
 * before it says "stop" although rows are left: the caller then lets the event loop run.
 */
typedef struct {
    PyObject_HEAD
    PyObject *linktype;
    PyObject *interface;        /* of every packet; or a dict by number, for a column of them */
    Py_buffer buffers[BUFFERS];
    Py_ssize_t data_start, data_size;
    Py_ssize_t first, position, count;
    aiopcap_slice slice;        /* without one, there is no end before the last row */
} rows_object;

static PyObject *row_interface(rows_object *rows, Py_ssize_t row)
{
    PyObject *key, *name;
    uint32_t number;

    if (rows->buffers[INTERFACES].buf == NULL)
        return Py_NewRef(rows->interface);
    number = ((const uint32_t *)rows->buffers[INTERFACES].buf)[row];
    if (number == NO_INTERFACE)
        return Py_NewRef(Py_None);
    key = PyLong_FromUnsignedLong(number);
    if (key == NULL)
        return NULL;
    name = PyDict_GetItemWithError(rows->interface, key);
    Py_DECREF(key);
    if (name == NULL && PyErr_Occurred())
        return NULL;
    return Py_NewRef(name == NULL ? Py_None : name);
}

/* They follow the packet's bytes; 0 with no options, -1 with an exception. */
static int row_options(rows_object *rows, Py_ssize_t row, Py_ssize_t data_end, PyObject **options)
{
    const char *data = (const char *)rows->buffers[DATA].buf + rows->data_start;
    Py_ssize_t start = data_end, length = 0;

    if (rows->buffers[OPTIONS].buf != NULL)
        length = ((const uint32_t *)rows->buffers[OPTIONS].buf)[row];
    if (length == 0)
        return 0;
    start += -((const uint32_t *)rows->buffers[CAPTURED].buf)[row] & 3;
    if (start > rows->data_size || length > rows->data_size - start) {
        PyErr_SetString(PyExc_ValueError, "a packet's options are outside the batch's data");
        return -1;
    }
    *options = PyBytes_FromStringAndSize(data + start, length);
    return *options == NULL ? -1 : 0;
}

static PyObject *row_packet(rows_object *rows, Py_ssize_t position)
{
    const char *data = (const char *)rows->buffers[DATA].buf + rows->data_start;
    Py_ssize_t row = rows->first + position;
    uint32_t offset = ((const uint32_t *)rows->buffers[OFFSETS].buf)[row];
    uint32_t captured = ((const uint32_t *)rows->buffers[CAPTURED].buf)[row];
    aiopcap_packet *packet;

    if ((Py_ssize_t)offset > rows->data_size
        || (Py_ssize_t)captured > rows->data_size - (Py_ssize_t)offset) {
        PyErr_SetString(PyExc_ValueError, "a packet's bytes are outside the batch's data");
        return NULL;
    }
    packet = (aiopcap_packet *)PyType_GenericAlloc(aiopcap_packet_type, 0);
    if (packet == NULL)
        return NULL;
    packet->timestamp_ns = ((const int64_t *)rows->buffers[TIMESTAMPS].buf)[row];
    packet->wire_length = ((const uint32_t *)rows->buffers[WIRE].buf)[row];
    packet->linktype = Py_NewRef(rows->linktype);
    packet->data = PyBytes_FromStringAndSize(data + offset, captured);
    packet->interface = row_interface(rows, row);
    if (packet->data == NULL || packet->interface == NULL
        || row_options(rows, row, (Py_ssize_t)offset + captured, &packet->options) < 0) {
        Py_DECREF((PyObject *)packet);
        return NULL;
    }
    return (PyObject *)packet;
}

/* Whether a row is left, and the budget not used up. */
int aiopcap_rows_deliver(PyObject *self)
{
    rows_object *rows = (rows_object *)self;

    return rows->position < rows->count
           && (rows->slice.deadline_ns == 0 || aiopcap_slice_lasts(&rows->slice));
}

/* The next row's packet; NULL without an exception when there is none. */
PyObject *aiopcap_rows_take(PyObject *self)
{
    rows_object *rows = (rows_object *)self;
    PyObject *packet;

    if (rows->position >= rows->count)
        return NULL;
    packet = row_packet(rows, rows->position);
    if (packet != NULL)
        rows->position++;
    return packet;
}

static PyObject *rows_next(PyObject *self)
{
    return aiopcap_rows_deliver(self) ? aiopcap_rows_take(self) : NULL;
}

/* The buffers must be of objects that the garbage collector does not clear: bytes, cffi's. */
static int take_buffer(rows_object *rows, int which, PyObject *from, Py_ssize_t needed,
                       size_t alignment)
{
    Py_buffer *buffer = &rows->buffers[which];

    if (PyObject_GetBuffer(from, buffer, PyBUF_SIMPLE) < 0)
        return -1;
    if (buffer->len < needed || (uintptr_t)buffer->buf % alignment != 0) {
        PyErr_SetString(PyExc_ValueError, "a buffer of a batch is too short");
        return -1;
    }
    return 0;
}

static int take_buffers(rows_object *rows, PyObject **from)
{
    static const Py_ssize_t ITEM[BUFFERS] = {1, 8, 4, 4, 4, 4, 4};
    int which;

    if (rows->first < 0 || rows->count < 0 || rows->first > PY_SSIZE_T_MAX / 8 - rows->count
        || rows->data_start < 0 || rows->data_size < 0
        || rows->data_start > PY_SSIZE_T_MAX - rows->data_size) {
        PyErr_SetString(PyExc_ValueError, "a batch cannot have such rows");
        return -1;
    }
    if (take_buffer(rows, DATA, from[DATA], rows->data_start + rows->data_size, 1) < 0)
        return -1;
    for (which = TIMESTAMPS; which < BUFFERS; which++) {
        if (which >= INTERFACES && from[which] == Py_None)
            continue;
        if (take_buffer(rows, which, from[which], (rows->first + rows->count) * ITEM[which],
                        (size_t)ITEM[which]) < 0)
            return -1;
    }
    return 0;
}

static PyObject *rows_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"first", "count", "data", "data_start", "data_size",
                            "timestamps_ns", "offsets", "captured_lengths", "wire_lengths",
                            "interfaces", "options_lengths", "linktype", "interface", NULL};
    PyObject *from[BUFFERS], *linktype, *interface;
    Py_ssize_t first, count, data_start, data_size;
    rows_object *rows;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "nnOnnOOOOOOOO:Rows", names, &first, &count,
                                     &from[DATA], &data_start, &data_size, &from[TIMESTAMPS],
                                     &from[OFFSETS], &from[CAPTURED], &from[WIRE],
                                     &from[INTERFACES], &from[OPTIONS], &linktype, &interface))
        return NULL;
    if (from[INTERFACES] != Py_None && !PyDict_Check(interface)) {
        PyErr_SetString(PyExc_TypeError, "a column of interfaces needs a dict of their names");
        return NULL;
    }
    rows = (rows_object *)PyType_GenericAlloc(type, 0);
    if (rows == NULL)
        return NULL;
    rows->linktype = Py_NewRef(linktype);
    rows->interface = Py_NewRef(interface);
    rows->first = first;
    rows->count = count;
    rows->data_start = data_start;
    rows->data_size = data_size;
    if (take_buffers(rows, from) < 0) {
        Py_DECREF((PyObject *)rows);
        return NULL;
    }
    return (PyObject *)rows;
}

static int rows_traverse(PyObject *self, visitproc visit, void *arg)
{
    rows_object *rows = (rows_object *)self;
    int which;

    Py_VISIT(Py_TYPE(self));
    Py_VISIT(rows->interface);
    for (which = 0; which < BUFFERS; which++)
        Py_VISIT(rows->buffers[which].obj);
    return 0;
}

static void rows_dealloc(PyObject *self)
{
    rows_object *rows = (rows_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    int which;

    PyObject_GC_UnTrack(self);
    for (which = 0; which < BUFFERS; which++)
        PyBuffer_Release(&rows->buffers[which]);
    Py_XDECREF(rows->linktype);
    Py_XDECREF(rows->interface);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *rows_allow(PyObject *self, PyObject *budget_ns)
{
    long long budget = PyLong_AsLongLong(budget_ns);

    if (budget == -1 && PyErr_Occurred())
        return NULL;
    aiopcap_slice_begin(&((rows_object *)self)->slice, budget);
    return Py_NewRef(Py_None);
}

static PyObject *rows_packet(PyObject *self, PyObject *index)
{
    rows_object *rows = (rows_object *)self;
    Py_ssize_t row = PyLong_AsSsize_t(index);

    if (row == -1 && PyErr_Occurred())
        return NULL;
    if (row < 0 || row >= rows->count) {
        PyErr_SetString(PyExc_IndexError, "packet index out of range");
        return NULL;
    }
    return row_packet(rows, row);
}

static PyObject *rows_skip(PyObject *self, PyObject *number)
{
    rows_object *rows = (rows_object *)self;
    Py_ssize_t skipped = PyLong_AsSsize_t(number);

    if (skipped == -1 && PyErr_Occurred())
        return NULL;
    if (skipped < 0 || skipped > rows->count - rows->position) {
        PyErr_SetString(PyExc_ValueError, "there are not so many packets left");
        return NULL;
    }
    rows->position += skipped;
    return Py_NewRef(Py_None);
}

static PyMethodDef rows_methods[] = {
    {"allow", rows_allow, METH_O, NULL},
    {"skip", rows_skip, METH_O, NULL},
    {"packet", rows_packet, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef rows_members[] = {
    {"position", T_PYSSIZET, offsetof(rows_object, position), READONLY, NULL},
    {"count", T_PYSSIZET, offsetof(rows_object, count), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot rows_slots[] = {
    {Py_tp_new, rows_new},
    {Py_tp_dealloc, rows_dealloc},
    {Py_tp_traverse, rows_traverse},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, rows_next},
    {Py_tp_methods, rows_methods},
    {Py_tp_members, rows_members},
    {0, NULL},
};

PyType_Spec aiopcap_rows_spec = {
    .name = "aiopcap._native._packets.Rows",
    .basicsize = sizeof(rows_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = rows_slots,
};
