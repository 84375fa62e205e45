# What cffi generates is typed by C, not by Python: the core turns it into typed objects.
from typing import Any

ffi: Any
lib: Any
