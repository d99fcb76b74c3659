// As much of the CUDA driver as libtorch asks for on a machine without one.

extern "C" {

int cuDevicePrimaryCtxGetState(  // NOLINT(readability-identifier-naming)
    int /*device*/, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}

}  // extern "C"
