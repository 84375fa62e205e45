/*
 * Sending frames without a detour through Python.
 *
 * What `await capture.send(frame)` has to look at each time (is it open, busy, this process's, this
 * thread's, is it another task's turn) costs several times what the kernel takes for the frame.  So
 * the owner looks at it once, and then allows for a millisecond that frames go out without.
 * Whatever is not plain is left here, and done the long way.
 */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "packets.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#ifndef MSG_DONTWAIT
#define MSG_DONTWAIT 0
#endif

typedef struct {
    PyObject_HEAD
    int fd;                     /* borrowed; -1 where frames do not go out by a socket */
    aiopcap_slice slice;        /* while it is allowed */
    unsigned long thread;
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
    if (frames->fd >= 0)
        aiopcap_slice_begin(&frames->slice, budget);
    frames->thread = PyThread_get_thread_ident();
    return Py_NewRef(Py_None);
}

static PyObject *socket_forbid(PyObject *self, PyObject *unused)
{
    (void)unused;
    ((socket_object *)self)->slice.deadline_ns = 0;
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

static int is_allowed(socket_object *frames)
{
    return aiopcap_slice_lasts(&frames->slice) && frames->thread == PyThread_get_thread_ident();
}

static PyObject *socket_send(PyObject *self, PyObject *frame)
{
    socket_object *frames = (socket_object *)self;

    return PyBool_FromLong(is_allowed(frames) && sent(frames->fd, frame));
}

#ifdef __linux__
/* One system call's worth, and what lies on the stack for it: 40 KB. */
enum { FRAMES_A_CALL = 256 };

/* Take views of frames from `first` on, up to one that is none; returns how many. */
static unsigned int take_views(PyObject *list, Py_ssize_t first, Py_buffer *views)
{
    Py_ssize_t left = PyList_Size(list) - first;
    unsigned int count;

    for (count = 0; (Py_ssize_t)count < left && count < FRAMES_A_CALL; count++) {
        PyObject *frame = PyList_GetItem(list, first + (Py_ssize_t)count);

        if (frame == NULL || PyObject_GetBuffer(frame, &views[count], PyBUF_SIMPLE) < 0) {
            PyErr_Clear();
            break;
        }
        if (views[count].len == 0) {
            PyBuffer_Release(&views[count]);
            break;
        }
    }
    return count;
}

/* Send as many as go without waiting; the views keep the frames' memory while others run. */
static unsigned int send_views(int fd, Py_buffer *views, unsigned int count)
{
    struct mmsghdr messages[FRAMES_A_CALL];
    struct iovec parts[FRAMES_A_CALL];
    unsigned int i;
    int done;

    memset(messages, 0, count * sizeof messages[0]);
    for (i = 0; i < count; i++) {
        parts[i].iov_base = views[i].buf;
        parts[i].iov_len = (size_t)views[i].len;
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    Py_BEGIN_ALLOW_THREADS
    done = sendmmsg(fd, messages, count, MSG_DONTWAIT);
    Py_END_ALLOW_THREADS
    return done < 0 ? 0 : (unsigned int)done;
}

static Py_ssize_t send_list(socket_object *frames, PyObject *list, Py_ssize_t total)
{
    Py_buffer views[FRAMES_A_CALL];
    unsigned int count, done, i;

    do {
        count = take_views(list, total, views);
        done = count == 0 ? 0 : send_views(frames->fd, views, count);
        for (i = 0; i < count; i++)
            PyBuffer_Release(&views[i]);
        total += (Py_ssize_t)done;
    } while (done > 0 && is_allowed(frames));
    return total;
}
#endif

/* send_many(list, first): send from there on; returns the first that is left for the long way. */
static PyObject *socket_send_many(PyObject *self, PyObject *args)
{
    PyObject *list;
    Py_ssize_t first;

    if (!PyArg_ParseTuple(args, "On:send_many", &list, &first))
        return NULL;
#ifdef __linux__
    if (first >= 0 && PyList_Check(list) && is_allowed((socket_object *)self))
        first = send_list((socket_object *)self, list, first);
#else
    (void)self;
#endif
    return PyLong_FromSsize_t(first);
}

static PyMethodDef socket_methods[] = {
    {"allow", socket_allow, METH_O, NULL},
    {"forbid", socket_forbid, METH_NOARGS, NULL},
    {"send", socket_send, METH_O, NULL},
    {"send_many", socket_send_many, METH_VARARGS, NULL},
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
