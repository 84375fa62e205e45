/* The extension module of the C types behind packets. */
#include "packets.h"

#include <pthread.h>

PyTypeObject *aiopcap_packet_type, *aiopcap_rows_type, *aiopcap_cursor_type, *aiopcap_step_type;

unsigned int aiopcap_process;

static void count_fork(void)
{
    aiopcap_process++;
}

/* The module keeps each type alive; one that C needs to find is noted in slot. */
static int add_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **slot)
{
    PyObject *type = PyType_FromSpec(spec);
    int status;

    if (type == NULL)
        return -1;
    if (slot != NULL)
        *slot = (PyTypeObject *)Py_NewRef(type);
    status = PyModule_AddObjectRef(module, name, type);
    Py_DECREF(type);
    return status;
}

static int module_exec(PyObject *module)
{
    static int registered;

    if (!registered && pthread_atfork(NULL, NULL, count_fork) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    registered = 1;
    if (add_type(module, "Packet", &aiopcap_packet_spec, &aiopcap_packet_type) < 0
        || add_type(module, "Rows", &aiopcap_rows_spec, &aiopcap_rows_type) < 0
        || add_type(module, "Cursor", &aiopcap_cursor_spec, &aiopcap_cursor_type) < 0
        || add_type(module, "Stream", &aiopcap_stream_spec, NULL) < 0
        || add_type(module, "FrameSocket", &aiopcap_framesocket_spec, NULL) < 0
        || add_type(module, "Step", &aiopcap_step_spec, &aiopcap_step_type) < 0)
        return -1;
    return PyModule_AddStringConstant(module, "version", AIOPCAP_VERSION);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "aiopcap._native._packets",
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__packets(void)
{
    return PyModuleDef_Init(&module_def);
}
