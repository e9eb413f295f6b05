// The libjpeg API and the TurboJPEG API of libjpeg-turbo.
#include <turbojpeg.h>
