/*
 * aiopcap.Packet: its fields, and its bytes as a buffer.  What is called rarely is Python, and added
 * to the type by aiopcap._core.packet.  A Python subclass would do as well, but every class made by
 * Python is of the garbage collector's kind, and half as fast to make.
 */
#include "packets.h"

#include <stdint.h>
#include <structmember.h>

static aiopcap_packet *packet_alloc(PyTypeObject *type)
{
    return (aiopcap_packet *)PyType_GenericAlloc(type, 0);
}

static int wire_length_from(PyObject *value, Py_ssize_t captured, unsigned int *result)
{
    unsigned long number;

    if (value == NULL || value == Py_None) {
        number = (unsigned long)captured;
    } else {
        number = PyLong_AsUnsignedLong(value);
        if (number == (unsigned long)-1 && PyErr_Occurred())
            return -1;
    }
    if (number > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "wire_length does not fit in 32 bits");
        return -1;
    }
    *result = (unsigned int)number;
    return 0;
}

static PyObject *packet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"data", "timestamp_ns", "wire_length", "linktype", "interface",
                            "_options", NULL};
    PyObject *data, *wire_length = NULL, *linktype = Py_None, *interface = Py_None;
    PyObject *options = Py_None;
    long long timestamp_ns = 0;
    aiopcap_packet *packet;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$LOOOO:Packet", names, &data, &timestamp_ns,
                                     &wire_length, &linktype, &interface, &options))
        return NULL;
    if (options != Py_None && !PyBytes_Check(options)) {
        PyErr_SetString(PyExc_TypeError, "_options must be bytes, or None");
        return NULL;
    }
    data = PyBytes_FromObject(data);
    if (data == NULL)
        return NULL;
    packet = packet_alloc(type);
    if (packet == NULL) {
        Py_DECREF(data);
        return NULL;
    }
    packet->data = data;
    packet->linktype = Py_NewRef(linktype);
    packet->interface = Py_NewRef(interface);
    packet->options = options == Py_None ? NULL : Py_NewRef(options);
    packet->timestamp_ns = timestamp_ns;
    if (wire_length_from(wire_length, PyBytes_Size(data), &packet->wire_length) < 0) {
        Py_DECREF((PyObject *)packet);
        return NULL;
    }
    return (PyObject *)packet;
}

static void packet_dealloc(PyObject *self)
{
    aiopcap_packet *packet = (aiopcap_packet *)self;
    PyTypeObject *type = Py_TYPE(self);

    Py_XDECREF(packet->data);
    Py_XDECREF(packet->linktype);
    Py_XDECREF(packet->interface);
    Py_XDECREF(packet->options);
    PyObject_Free(self);        /* what tp_free is, without looking it up for each packet */
    Py_DECREF((PyObject *)type);
}

static Py_ssize_t packet_length(PyObject *self)
{
    return PyBytes_Size(((aiopcap_packet *)self)->data);
}

static int packet_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    return PyObject_GetBuffer(((aiopcap_packet *)self)->data, view, flags);
}

static PyMemberDef packet_members[] = {
    {"data", T_OBJECT_EX, offsetof(aiopcap_packet, data), READONLY,
     "bytes: from the link-layer header on."},
    {"linktype", T_OBJECT, offsetof(aiopcap_packet, linktype), READONLY,
     "LinkType or None: what the data begins with, where known."},
    {"interface", T_OBJECT, offsetof(aiopcap_packet, interface), READONLY,
     "str or None: the device that it came from, where known."},
    {"_options", T_OBJECT, offsetof(aiopcap_packet, options), READONLY, NULL},
    {"timestamp_ns", T_LONGLONG, offsetof(aiopcap_packet, timestamp_ns), READONLY,
     "int: nanoseconds since 1970-01-01 00:00 UTC."},
    {"wire_length", T_UINT, offsetof(aiopcap_packet, wire_length), READONLY,
     "int: how many bytes it had on the wire."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(packet_doc,
"Packet(data, *, timestamp_ns=0, wire_length=None, linktype=None, interface=None)\n"
"--\n"
"\n"
"A packet as it was captured, or as it is to be written: an immutable value.\n"
"\n"
"`len(packet)`, `bytes(packet)` and `memoryview(packet)` are those of its data. Two packets are\n"
"equal when their data, time stamps and wire lengths are; where they came from does not count.\n"
"\n"
"Args:\n"
"    data: The bytes, from the link-layer header on.\n"
"    timestamp_ns: Nanoseconds since 1970-01-01 00:00 UTC.\n"
"    wire_length: How many bytes it had on the wire; as many as `data` where not given.\n"
"    linktype: What the data begins with, where known.\n"
"    interface: The device that it came from, where known.\n");

static PyType_Slot packet_slots[] = {
    {Py_tp_doc, (void *)packet_doc},
    {Py_tp_new, packet_new},
    {Py_tp_dealloc, packet_dealloc},
    {Py_tp_members, packet_members},
    {Py_sq_length, packet_length},
    {Py_bf_getbuffer, packet_getbuffer},
    {0, NULL},
};

PyType_Spec aiopcap_packet_spec = {
    .name = "aiopcap.Packet",
    .basicsize = sizeof(aiopcap_packet),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = packet_slots,
};
