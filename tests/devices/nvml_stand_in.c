/* A driver library for hosts without one, built as libnvidia-ml.so.1 by the tests. What it shows stands in the text file
   $NVML_WORLD, read anew at each call, one record a line, fields apart by blanks:

     driver <version> <CUDA version as NVML's number>
     gpu <uuid> <index> <name> <PCI address> <total> <reserved> <free> <used> ok|lost|reset <recovery action> <major> <minor>
     condition <uuid> <utilisation in percent> <degrees> <ECC errors, or -1 for a GPU without ECC>
     mig <uuid of the GPU> <uuid of the instance> <GPU instance> <compute instance> <total> <reserved> <free> <used>
     process <uuid> <pid> <bytes, or -1 for not available>

   all GPUs before all instances. A GPU of which no line tells the condition does not support that.

   XIDs are lines "<uuid> <xid>", appended to $NVML_WORLD.xid. Without $NVML_WORLD there are two GPUs (or $NVML_GPUS, at most
   two), of which the first is held by this very process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT = 7, TIMEOUT = 10, LOST = 15, RESET = 16 };
enum { GPUS = 16, PROCESSES = 64, SETS = 16 };
typedef unsigned long long bytes;

struct process { unsigned pid; bytes used; unsigned gpu_instance, compute_instance; };
struct gpu {
    char uuid[96], name[96], pci[32], health[16];
    unsigned index;
    bytes total, reserved, free, used;
    int action, major, minor, processes, has_condition, utilization, degrees, gpu_instance, compute_instance;
    long long ecc;
    char parent[96];
    struct process list[PROCESSES];
};
struct handle { char uuid[96]; };
struct set { long offset; int registered[GPUS]; };

static struct gpu gpus[GPUS];
static struct handle handles[GPUS]; /* a handle stays what it is, as a driver's does */
static struct set sets[SETS];
static int count, all, known, used_sets, initialised; /* the first `count` of `all` are GPUs, the others instances */
static unsigned cuda_version;
static char driver_version[80];

static struct gpu *find(const char *uuid) {
    for (int i = 0; i < all; i++)
        if (!strcmp(gpus[i].uuid, uuid)) return &gpus[i];
    return NULL;
}

static void read_world(void) {
    static char line[512];
    const char *path = getenv("NVML_WORLD");
    count = all = 0;
    strcpy(driver_version, "580.1");
    cuda_version = 13000;
    if (!path) {
        count = all = getenv("NVML_GPUS") ? atoi(getenv("NVML_GPUS")) : 2;
        for (int i = 0; i < count; i++) {
            gpus[i] = (struct gpu){.name = "Stand-in", .health = "ok", .index = i, .total = 1000, .reserved = 100, .free = 600,
                                   .used = 300, .major = 9, .processes = i == 0};
            snprintf(gpus[i].uuid, sizeof gpus[i].uuid, "GPU-00000000-0000-0000-0000-00000000000%d", i);
            snprintf(gpus[i].pci, sizeof gpus[i].pci, "00000000:0%d:00.0", i + 1);
            gpus[i].list[0] = (struct process){getpid(), 300, ~0u, ~0u};
        }
        return;
    }
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        struct gpu new = {0};
        char uuid[96];
        unsigned pid;
        long long held;
        if (sscanf(line, "gpu %95s %u %95s %31s %llu %llu %llu %llu %15s %d %d %d", new.uuid, &new.index, new.name, new.pci,
                   &new.total, &new.reserved, &new.free, &new.used, new.health, &new.action, &new.major, &new.minor) == 12)
            gpus[count++] = new, all = count;
        else if (sscanf(line, "mig %95s %95s %d %d %llu %llu %llu %llu", new.parent, new.uuid, &new.gpu_instance,
                        &new.compute_instance, &new.total, &new.reserved, &new.free, &new.used) == 8 && find(new.parent)) {
            strcpy(new.name, "Instance");
            strcpy(new.health, find(new.parent)->health);
            gpus[all++] = new;
        } else if (sscanf(line, "condition %95s %d %d %lld", uuid, &new.utilization, &new.degrees, &new.ecc) == 4 && find(uuid)) {
            struct gpu *gpu = find(uuid);
            gpu->has_condition = 1;
            gpu->utilization = new.utilization;
            gpu->degrees = new.degrees;
            gpu->ecc = new.ecc;
        } else if (sscanf(line, "process %95s %u %lld", uuid, &pid, &held) == 3 && find(uuid))
            find(uuid)->list[find(uuid)->processes++] = (struct process){pid, (bytes)held, ~0u, ~0u};
        else
            sscanf(line, "driver %79s %u", driver_version, &cuda_version);
    }
    if (file) fclose(file);
}

static int health(const struct gpu *gpu) { return !strcmp(gpu->health, "lost") ? LOST : SUCCESS; }
static int readable(const struct gpu *gpu) { return !strcmp(gpu->health, "reset") ? RESET : health(gpu); }

/* The GPU of a handle as it is now, or why there is none. */
static int look(const struct handle *handle, struct gpu **gpu) {
    if (!initialised) return UNINITIALIZED;
    read_world();
    *gpu = find(handle->uuid);
    return *gpu ? health(*gpu) : LOST;
}

static int handle_of(const struct gpu *gpu, struct handle **handle) {
    for (int i = 0; i < known; i++)
        if (!strcmp(handles[i].uuid, gpu->uuid)) { *handle = &handles[i]; return health(gpu); }
    strcpy(handles[known].uuid, gpu->uuid);
    *handle = &handles[known++];
    return health(gpu);
}

int nvmlInit_v2(void) { initialised = 1; return SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; initialised = 1; return SUCCESS; }
int nvmlShutdown(void) { initialised = 0; return SUCCESS; }
const char *nvmlErrorString(int code) { return code == LOST ? "GPU is lost" : "error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { read_world(); snprintf(text, length, "%s", driver_version); return SUCCESS; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { read_world(); *version = cuda_version; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *shown) { read_world(); *shown = count; return initialised ? SUCCESS : UNINITIALIZED; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct handle **handle) {
    read_world();
    return index < (unsigned)count ? handle_of(&gpus[index], handle) : INVALID;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, struct handle **handle) {
    read_world();
    return find(uuid) ? handle_of(find(uuid), handle) : NOT_FOUND;
}
int nvmlDeviceGetUUID(struct handle *handle, char *text, unsigned length) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) snprintf(text, length, "%s", gpu->uuid);
    return code;
}
int nvmlDeviceGetIndex(struct handle *handle, unsigned *index) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) *index = gpu->index;
    return code;
}
int nvmlDeviceGetName(struct handle *handle, char *text, unsigned length) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) snprintf(text, length, "%s", gpu->name);
    return code;
}
int nvmlDeviceGetPciInfo_v3(struct handle *handle, char *info) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    memset(info, 0, 68);
    if (code == SUCCESS) snprintf(info + 36, 32, "%s", gpu->pci);
    return code;
}
int nvmlDeviceGetCudaComputeCapability(struct handle *handle, int *major, int *minor) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) { *major = gpu->major; *minor = gpu->minor; }
    return code;
}

/* -- how a GPU is, and its instances -- */
static int condition(struct handle *handle, struct gpu **gpu) {
    int code = look(handle, gpu);
    return code != SUCCESS ? code : (*gpu)->has_condition ? SUCCESS : NOT_SUPPORTED;
}
struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(struct handle *handle, struct utilization *rates) {
    struct gpu *gpu;
    int code = condition(handle, &gpu);
    if (code == SUCCESS) *rates = (struct utilization){gpu->utilization, 0};
    return code;
}
int nvmlDeviceGetTemperature(struct handle *handle, unsigned sensor, unsigned *degrees) {
    struct gpu *gpu;
    int code = condition(handle, &gpu);
    if (code == SUCCESS) *degrees = gpu->degrees;
    return sensor == 0 ? code : INVALID;
}
int nvmlDeviceGetTotalEccErrors(struct handle *handle, unsigned type, unsigned counter, bytes *errors) {
    struct gpu *gpu;
    int code = condition(handle, &gpu);
    if (code == SUCCESS && (gpu->ecc < 0 || type != 1 || counter != 0)) return NOT_SUPPORTED;
    if (code == SUCCESS) *errors = gpu->ecc;
    return code;
}
static struct gpu *instance(const struct gpu *gpu, unsigned number) {
    for (int i = count; i < all; i++)
        if (!strcmp(gpus[i].parent, gpu->uuid) && number-- == 0) return &gpus[i];
    return NULL;
}
int nvmlDeviceGetMigMode(struct handle *handle, unsigned *now, unsigned *pending) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS && !instance(gpu, 0)) return NOT_SUPPORTED;
    *now = *pending = 1;
    return code;
}
int nvmlDeviceGetMaxMigDeviceCount(struct handle *handle, unsigned *most) {
    struct gpu *gpu;
    *most = 7;
    return look(handle, &gpu);
}
int nvmlDeviceGetMigDeviceHandleByIndex(struct handle *handle, unsigned number, struct handle **found) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code != SUCCESS) return code;
    return instance(gpu, number) ? handle_of(instance(gpu, number), found) : NOT_FOUND;
}
static int instance_id(struct handle *handle, unsigned *id, int compute) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code != SUCCESS) return code;
    *id = compute ? gpu->compute_instance : gpu->gpu_instance;
    return gpu->parent[0] ? SUCCESS : INVALID;
}
int nvmlDeviceGetGpuInstanceId(struct handle *handle, unsigned *id) { return instance_id(handle, id, 0); }
int nvmlDeviceGetComputeInstanceId(struct handle *handle, unsigned *id) { return instance_id(handle, id, 1); }

struct memory_v1 { bytes total, free, used; };
struct memory_v2 { unsigned version; bytes total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo(struct handle *handle, struct memory_v1 *info) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) code = readable(gpu);
    if (code == SUCCESS) *info = (struct memory_v1){gpu->total, gpu->free, gpu->used + gpu->reserved};
    return code;
}
int nvmlDeviceGetMemoryInfo_v2(struct handle *handle, struct memory_v2 *info) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) code = readable(gpu);
    if (code == SUCCESS) *info = (struct memory_v2){info->version, gpu->total, gpu->reserved, gpu->free, gpu->used};
    return code;
}
int nvmlDeviceGetComputeRunningProcesses_v3(struct handle *handle, unsigned *room, struct process *list) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    if (code == SUCCESS) code = readable(gpu);
    if (code != SUCCESS) return code;
    code = (int)*room < gpu->processes ? INSUFFICIENT : SUCCESS;
    if (code == SUCCESS) memcpy(list, gpu->list, sizeof *list * gpu->processes);
    *room = gpu->processes;
    return code;
}
struct field { unsigned id, scope; long long at, latency; unsigned type; int code; union { unsigned number; double wide; } value; };
int nvmlDeviceGetFieldValues(struct handle *handle, int wanted, struct field *fields) {
    struct gpu *gpu;
    int code = look(handle, &gpu);
    for (int i = 0; code == SUCCESS && i < wanted; i++) {
        fields[i].code = fields[i].id == 230 ? SUCCESS : NOT_SUPPORTED;
        fields[i].type = 1;
        fields[i].value.number = gpu->action;
    }
    return code;
}

static const char *xid_path(void) {
    static char path[512];
    snprintf(path, sizeof path, "%s.xid", getenv("NVML_WORLD") ? getenv("NVML_WORLD") : "/nonexistent");
    return path;
}
int nvmlEventSetCreate(struct set **set) {
    *set = &sets[used_sets++ % SETS];
    memset(*set, 0, sizeof **set);
    FILE *file = fopen(xid_path(), "r");
    if (file) { fseek(file, 0, SEEK_END); (*set)->offset = ftell(file); fclose(file); }
    return SUCCESS;
}
int nvmlEventSetFree(struct set *set) { (void)set; return SUCCESS; }
int nvmlDeviceGetSupportedEventTypes(struct handle *handle, bytes *types) {
    struct gpu *gpu;
    *types = 0xF;
    return look(handle, &gpu);
}
int nvmlDeviceRegisterEvents(struct handle *handle, bytes types, struct set *set) {
    set->registered[handle - handles] = 1;
    return types == 8 ? SUCCESS : NOT_SUPPORTED;
}
struct event { struct handle *handle; bytes type, data; unsigned gpu_instance, compute_instance; };
int nvmlEventSetWait_v2(struct set *set, struct event *event, unsigned milliseconds) {
    for (unsigned waited = 0;; waited += 5) {
        FILE *file = fopen(xid_path(), "r");
        char uuid[96];
        if (file) {
            fseek(file, set->offset, SEEK_SET);
            while (fscanf(file, "%95s %llu\n", uuid, &event->data) == 2) {
                set->offset = ftell(file);
                for (int i = 0; i < known; i++)
                    if (set->registered[i] && !strcmp(handles[i].uuid, uuid)) {
                        fclose(file);
                        event->handle = &handles[i];
                        event->type = 8;
                        event->gpu_instance = event->compute_instance = ~0u;
                        return SUCCESS;
                    }
            }
            fclose(file);
        }
        if (waited >= milliseconds) return TIMEOUT;
        usleep(5000);
    }
}
