/*
 * `async for` over packets, without a coroutine for each.
 *
 * A coroutine that returns at once still costs more than the packet it returns.  While there are
 * rows to deliver, the stream's __anext__ gives a step instead: an awaitable that has its packet
 * when it is awaited, and never waits.  Otherwise it gives the coroutine that does wait.
 */
#include "packets.h"

#include <structmember.h>

/* ---- Cursor: the rows in hand, shared by a capture and the streams over it -------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *rows;             /* NULL when the hand is empty */
} cursor_object;

static int cursor_set_rows(PyObject *self, PyObject *value, void *closure)
{
    cursor_object *cursor = (cursor_object *)self;
    PyObject *old = cursor->rows;

    (void)closure;
    if (value == NULL || value == Py_None) {
        cursor->rows = NULL;
    } else if (PyObject_TypeCheck(value, aiopcap_rows_type)) {
        cursor->rows = Py_NewRef(value);
    } else {
        PyErr_SetString(PyExc_TypeError, "rows must be Rows or None");
        return -1;
    }
    Py_XDECREF(old);
    return 0;
}

static PyObject *cursor_get_rows(PyObject *self, void *closure)
{
    PyObject *rows = ((cursor_object *)self)->rows;

    (void)closure;
    return Py_NewRef(rows == NULL ? Py_None : rows);
}

static int cursor_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(((cursor_object *)self)->rows);
    return 0;
}

static int cursor_clear(PyObject *self)
{
    Py_CLEAR(((cursor_object *)self)->rows);
    return 0;
}

static void cursor_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    cursor_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyGetSetDef cursor_getset[] = {
    {"rows", cursor_get_rows, cursor_set_rows, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot cursor_slots[] = {
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, cursor_dealloc},
    {Py_tp_traverse, cursor_traverse},
    {Py_tp_clear, cursor_clear},
    {Py_tp_getset, cursor_getset},
    {0, NULL},
};

PyType_Spec aiopcap_cursor_spec = {
    .name = "aiopcap._native._packets.Cursor",
    .basicsize = sizeof(cursor_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = cursor_slots,
};

/* ---- Step: an awaitable that has its result --------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    cursor_object *cursor;
} step_object;

static PyObject *step_take(PyObject *self)
{
    PyObject *rows = ((step_object *)self)->cursor->rows;
    PyObject *packet = rows == NULL ? NULL : aiopcap_rows_take(rows);

    if (packet == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError,
                        "the packet was delivered elsewhere: await __anext__() at once");
    return packet;
}

static PySendResult step_send(PyObject *self, PyObject *value, PyObject **result)
{
    (void)value;
    *result = step_take(self);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* CPython 3.12 and later await through this. */
static PyObject *step_next(PyObject *self)
{
    PyObject *packet = step_take(self);

    if (packet != NULL) {
        PyErr_SetObject(PyExc_StopIteration, packet);
        Py_DECREF(packet);
    }
    return NULL;
}

static void step_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF((PyObject *)((step_object *)self)->cursor);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyType_Slot step_slots[] = {
    {Py_tp_dealloc, step_dealloc},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, step_next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, step_send},
    {0, NULL},
};

PyType_Spec aiopcap_step_spec = {
    .name = "aiopcap._native._packets.Step",
    .basicsize = sizeof(step_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = step_slots,
};

/* ---- Stream ------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    cursor_object *cursor;
    PyObject *wait;             /* called for the coroutine that waits for the next packet */
    step_object *step;          /* the last one, to be used again when nobody has it any more */
} stream_object;

static PyObject *stream_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"cursor", "wait", NULL};
    PyObject *cursor, *wait;
    stream_object *stream;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Stream", names, &cursor, &wait))
        return NULL;
    if (!PyObject_TypeCheck(cursor, aiopcap_cursor_type)) {
        PyErr_SetString(PyExc_TypeError, "cursor must be a Cursor");
        return NULL;
    }
    stream = (stream_object *)PyType_GenericAlloc(type, 0);
    if (stream == NULL)
        return NULL;
    stream->cursor = (cursor_object *)Py_NewRef(cursor);
    stream->wait = Py_NewRef(wait);
    return (PyObject *)stream;
}

static PyObject *stream_anext(PyObject *self)
{
    stream_object *stream = (stream_object *)self;
    PyObject *rows = stream->cursor->rows;
    step_object *step = stream->step;

    if (rows == NULL || !aiopcap_rows_deliver(rows))
        return PyObject_CallNoArgs(stream->wait);
    if (step == NULL || Py_REFCNT((PyObject *)step) > 1) {
        step = (step_object *)PyType_GenericAlloc(aiopcap_step_type, 0);
        if (step == NULL)
            return NULL;
        step->cursor = (cursor_object *)Py_NewRef((PyObject *)stream->cursor);
        Py_XDECREF((PyObject *)stream->step);
        stream->step = step;
    }
    return Py_NewRef((PyObject *)step);
}

static int stream_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)((stream_object *)self)->cursor);
    Py_VISIT(((stream_object *)self)->wait);
    return 0;
}

static void stream_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    Py_XDECREF((PyObject *)((stream_object *)self)->cursor);
    Py_XDECREF(((stream_object *)self)->wait);
    Py_XDECREF((PyObject *)((stream_object *)self)->step);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyType_Slot stream_slots[] = {
    {Py_tp_new, stream_new},
    {Py_tp_dealloc, stream_dealloc},
    {Py_tp_traverse, stream_traverse},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, stream_anext},
    {0, NULL},
};

PyType_Spec aiopcap_stream_spec = {
    .name = "aiopcap._native._packets.Stream",
    .basicsize = sizeof(stream_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = stream_slots,
};
