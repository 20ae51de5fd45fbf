"""Measure the browser page: WebAssembly against native code, a whole CT, and the memory of the tab."""
