// The libjpeg API of libjpeg-turbo. jpeglib.h needs FILE and size_t and does not include their headers.
#include <stddef.h>
#include <stdio.h>
#include <jpeglib.h>
