/* A driver library for hosts without one: two GPUs (or $NVML_GPUS, at most two), the second one lost while the file
   $NVML_LOST exists, and the XID written in the file $NVML_XID reported once. Built as libnvidia-ml.so.1 by
   test_real_nvml.py and by the suite robot/preflight/nvml.robot. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, TIMEOUT = 10, INSUFFICIENT = 7, LOST = 15 };
static int gpus[2] = {0, 1};

static int lost(const int *gpu) { return *gpu == 1 && getenv("NVML_LOST") && access(getenv("NVML_LOST"), F_OK) == 0; }

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { snprintf(text, length, "580.1"); return SUCCESS; }
static unsigned shown(void) { return getenv("NVML_GPUS") ? (unsigned)atoi(getenv("NVML_GPUS")) : 2; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = shown(); return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, int **gpu) {
    if (index > 1 || index >= shown()) return INVALID;
    *gpu = &gpus[index];
    return lost(*gpu) ? LOST : SUCCESS;
}
int nvmlDeviceGetUUID(int *gpu, char *text, unsigned length) {
    if (lost(gpu)) return LOST;
    snprintf(text, length, "GPU-00000000-0000-0000-0000-00000000000%d", *gpu);
    return SUCCESS;
}
int nvmlDeviceGetIndex(int *gpu, unsigned *index) { *index = *gpu; return lost(gpu) ? LOST : SUCCESS; }
int nvmlDeviceGetName(int *gpu, char *text, unsigned length) { (void)gpu; snprintf(text, length, "Stand-in"); return SUCCESS; }
int nvmlDeviceGetPciInfo_v3(int *gpu, char *info) {
    memset(info, 0, 68);
    snprintf(info + 36, 32, "00000000:0%d:00.0", *gpu + 1);
    return SUCCESS;
}
struct memory { unsigned version; unsigned long long total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(int *gpu, struct memory *info) {
    if (lost(gpu)) return LOST;
    info->total = 1000; info->reserved = 100; info->free = 600; info->used = 300;
    return SUCCESS;
}
struct process { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; };
int nvmlDeviceGetComputeRunningProcesses_v3(int *gpu, unsigned *count, struct process *list) {
    if (*gpu == 1) { *count = 0; return lost(gpu) ? LOST : SUCCESS; }
    if (*count < 1) { *count = 1; return INSUFFICIENT; }
    *count = 1;
    list[0].pid = getpid(); list[0].used = 300; list[0].gpu_instance = list[0].compute_instance = ~0u;
    return SUCCESS;
}
struct field { unsigned id, scope; long long at, latency; unsigned type; int code; union { unsigned number; double wide; } value; };
int nvmlDeviceGetFieldValues(int *gpu, int count, struct field *fields) {
    for (int i = 0; i < count; i++) { fields[i].code = SUCCESS; fields[i].type = 1; fields[i].value.number = *gpu; }
    return SUCCESS;
}
int nvmlEventSetCreate(void **set) { *set = gpus; return SUCCESS; }
int nvmlEventSetFree(void *set) { (void)set; return SUCCESS; }
int nvmlDeviceGetSupportedEventTypes(int *gpu, unsigned long long *types) { (void)gpu; *types = 0xF; return SUCCESS; }
int nvmlDeviceRegisterEvents(int *gpu, unsigned long long types, void *set) {
    (void)gpu; (void)set;
    return types == 8 ? SUCCESS : NOT_SUPPORTED;
}
struct event { int *gpu; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
int nvmlEventSetWait_v2(void *set, struct event *event, unsigned milliseconds) {
    (void)set;
    for (unsigned waited = 0; waited <= milliseconds; waited += 10) {
        FILE *file = getenv("NVML_XID") ? fopen(getenv("NVML_XID"), "r") : NULL;
        if (file) {
            int found = fscanf(file, "%llu", &event->data) == 1;
            fclose(file);
            unlink(getenv("NVML_XID"));
            if (found) { event->gpu = &gpus[1]; event->type = 8; return SUCCESS; }
        }
        usleep(10000);
    }
    return TIMEOUT;
}
