/*
 * Sending one frame without a detour through Python.
 *
 * What `await capture.send(frame)` has to look at each time (is it open, busy, this process's, this
 * thread's, is it another task's turn) costs several times what the kernel takes for the frame.  So
 * the owner looks at it once, and then allows for a millisecond that frames go out without.
 * Whatever is not plain is refused here, and done the long way from the start.
 */
#include "packets.h"

#include <stdint.h>
#include <sys/socket.h>

#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0
#endif

typedef struct {
    PyObject_HEAD
    int fd;                     /* borrowed; -1 where frames do not go out by a socket */
    int64_t deadline_ns;        /* 0 while it is not allowed */
    unsigned long thread;
    unsigned int process;
} socket_object;

static PyObject *socket_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", NULL};
    socket_object *self;
    int fd;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i:FrameSocket", names, &fd))
        return NULL;
    self = (socket_object *)PyType_GenericAlloc(type, 0);
    if (self != NULL)
        self->fd = fd;
    return (PyObject *)self;
}

static void socket_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF((PyObject *)type);
}

static PyObject *socket_allow(PyObject *self, PyObject *budget_ns)
{
    socket_object *frames = (socket_object *)self;
    long long budget = PyLong_AsLongLong(budget_ns);

    if (budget == -1 && PyErr_Occurred())
        return NULL;
    frames->deadline_ns = frames->fd < 0 ? 0 : aiopcap_now_ns() + budget;
    frames->thread = PyThread_get_thread_ident();
    frames->process = aiopcap_process;
    return Py_NewRef(Py_None);
}

static PyObject *socket_forbid(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((socket_object *)self)->deadline_ns = 0;
    return Py_NewRef(Py_None);
}

/* The GIL is kept: a frame that does not have to wait takes about a microsecond. */
static int sent(int fd, PyObject *frame)
{
    Py_buffer buffer;
    ssize_t count;

    if (PyObject_GetBuffer(frame, &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    count = buffer.len == 0 ? -1 : send(fd, buffer.buf, (size_t)buffer.len, MSG_DONTWAIT);
    PyBuffer_Release(&buffer);
    return count >= 0;
}

static PyObject *socket_send(PyObject *self, PyObject *frame)
{
    socket_object *frames = (socket_object *)self;

    return PyBool_FromLong(frames->deadline_ns != 0 && frames->process == aiopcap_process
                           && frames->thread == PyThread_get_thread_ident()
                           && aiopcap_now_ns() < frames->deadline_ns && sent(frames->fd, frame));
}

static PyMethodDef socket_methods[] = {
    {"allow", socket_allow, METH_O, NULL},
    {"forbid", socket_forbid, METH_NOARGS, NULL},
    {"send", socket_send, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot socket_slots[] = {
    {Py_tp_new, socket_new},
    {Py_tp_dealloc, socket_dealloc},
    {Py_tp_methods, socket_methods},
    {0, NULL},
};

PyType_Spec aiopcap_framesocket_spec = {
    .name = "aiopcap._native._packets.FrameSocket",
    .basicsize = sizeof(socket_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = socket_slots,
};
