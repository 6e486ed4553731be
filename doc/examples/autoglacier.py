"""The form of the scripts of the Python program, on libautoglacier: put it where your script finds it.

    from autoglacier import GTEU, auto_glacier

auto_glacier(files, list_of_globs, description) archives under ~/.config/autoglacier/CONFIG.json. A class of its own may have
CONFIG, files, list_of_globs, description and gather_hook(), and is run with run(); see FROM-PYTHON.md.
"""
import ctypes
import ctypes.util
import json
import os


class Error(ctypes.Structure):
    _fields_ = [('code', ctypes.c_int), ('text', ctypes.c_char * 1024)]


HOOK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
TEXT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class Job(ctypes.Structure):
    _fields_ = [('size', ctypes.c_size_t), ('description', ctypes.c_char_p), ('files', ctypes.POINTER(ctypes.c_char_p)),
                ('globs', ctypes.POINTER(ctypes.c_char_p)), ('config', ctypes.c_char_p), ('flags', ctypes.c_uint),
                ('gather_hook', HOOK), ('progress', ctypes.c_void_p), ('cancel', ctypes.c_void_p), ('message', TEXT),
                ('ctx', ctypes.c_void_p), ('patience', ctypes.c_uint)]


lib = ctypes.CDLL(os.environ.get('LIBAUTOGLACIER') or ctypes.util.find_library('autoglacier') or 'libautoglacier.so.0')
lib.agl_list_get.restype = ctypes.c_char_p
lib.agl_list_count.restype = ctypes.c_size_t
for function, types in (('agl_list_get', [ctypes.c_void_p, ctypes.c_size_t]), ('agl_list_count', [ctypes.c_void_p]),
                        ('agl_list_remove', [ctypes.c_void_p, ctypes.c_size_t]),
                        ('agl_list_add', [ctypes.c_void_p, ctypes.c_char_p]),
                        ('agl_close', [ctypes.c_void_p]), ('agl_free', [ctypes.c_void_p])):
    getattr(lib, function).argtypes = types


def strings(items):
    return (ctypes.c_char_p * (len(items) + 1))(*[os.fsencode(i) for i in items], None)


def check(result, error):
    if result < 0:
        raise OSError(-result, error.text.decode(errors='replace'))
    return result


class GTEU:
    """[G]athers files, [T]ars them up, [E]ncrypts and [U]ploads them."""
    CONFIG = {}
    files = []
    list_of_globs = []
    description = 'default description'

    def gather_hook(self):
        """May change self.files, which holds what the globs found, too."""

    def _hook(self, _ctx, found):
        try:
            self.files = [os.fsdecode(lib.agl_list_get(found, i)) for i in range(lib.agl_list_count(found))]
            self.gather_hook()
            while lib.agl_list_count(found):
                lib.agl_list_remove(found, 0)
            return min([lib.agl_list_add(found, os.fsencode(f)) for f in self.files], default=0)
        except Exception as e:
            self.failure = e
            return 1

    @classmethod
    def run(cls):
        self, error, a, name = cls(), Error(), ctypes.c_void_p(), ctypes.c_char_p()
        self.failure = None
        check(lib.agl_open(None, ctypes.byref(a), ctypes.byref(error)), error)
        try:
            job = Job(ctypes.sizeof(Job), cls.description.encode(), strings(cls.files), strings(cls.list_of_globs),
                      json.dumps(cls.CONFIG).encode() if cls.CONFIG else None, 0, HOOK(self._hook), None, None, TEXT(), None)
            result = lib.agl_backup(a, ctypes.byref(job), ctypes.byref(name), ctypes.byref(error))
            if self.failure:
                raise self.failure
            check(result, error)
            return name.value.decode()
        finally:
            lib.agl_free(name)
            lib.agl_close(a)

    @classmethod
    def read_config(cls, path):
        with open(path) as f:
            cls.CONFIG = json.load(f)


def auto_glacier(files, list_of_globs, description):
    error = Error()
    check(lib.agl_auto_glacier(strings(files), strings(list_of_globs), description.encode(), ctypes.byref(error)), error)
