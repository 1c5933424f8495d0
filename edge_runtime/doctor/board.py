"""The board: clock, power, heat, processor."""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime import bench
from edge_runtime.config import Config
from edge_runtime.deployment.place import chosen_bundle
from edge_runtime.doctor.checks import Check, failure, ok, skipped, warning
from edge_runtime.doctor.machine import Machine
from edge_runtime.host import Host

# Bits of the firmware: now, and 16 higher since the start.
THROTTLING = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_START = 16
HOT_C, TOO_HOT_C = 75.0, 80.0  # a Pi slows down from 80 °C (some models: 60 °C) on
SUPPLY_FIX = "use the official power supply (5 V 3 A for a Pi 4, 5 V 5 A for a Pi 5) and a short cable"
COOLING_FIX = "add a heat sink or a fan, or move it out of the sun"
CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
# These drivers choose the frequency themselves, whatever their governor is called.
OWN_WILL = ("intel_pstate", "amd-pstate", "amd-pstate-epp")


def board_checks(machine: Machine, config: Config | None) -> Iterator[Check]:
    """Five checks."""
    yield _clock(machine)
    yield _power(machine)
    yield _temperature(machine)
    yield _processor(machine, config)
    yield _governor(machine)


def _clock(machine: Machine) -> Check:
    synced = Host(root=machine.root).status().clock_synced
    if synced is None:
        return skipped("clock", "nobody says whether it is synchronised")
    if synced:
        return ok("clock", "synchronised")
    fix = "sudo timedatectl set-ntp true; without a network, a clock module"
    return warning("clock", "not synchronised: t_unix in records is not to be trusted", fix)


def _power(machine: Machine) -> Check:
    bits = Host(root=machine.root).status().throttled
    if bits is None:
        return _supply_alarm(machine)
    now = [text for bit, text in THROTTLING.items() if bits >> bit & 1]
    before = [text for bit, text in THROTTLING.items() if bits >> bit + SINCE_START & 1 and text not in now]
    found = "; ".join(
        f"{when}: {', '.join(texts)}" for when, texts in (("now", now), ("since start-up", before)) if texts
    )
    if not found:
        return ok("power", "never throttled since start-up (0x0)")
    fix = SUPPLY_FIX if any(THROTTLING[0] in texts for texts in (now, before)) else COOLING_FIX
    return (failure if now else warning)("power", f"{found} (0x{bits:x})", fix)


def _supply_alarm(machine: Machine) -> Check:
    """Newer kernels tell of low voltage in another place, and of nothing else."""
    for name in sorted(machine.path("/sys/class/hwmon").glob("*/name")):
        if machine.read(f"/sys/class/hwmon/{name.parent.name}/name") == "rpi_volt":
            alarm = machine.number(f"/sys/class/hwmon/{name.parent.name}/in0_lcrit_alarm")
            if alarm:
                return failure("power", "undervoltage since start-up", SUPPLY_FIX)
            return ok("power", "no undervoltage since start-up")
    return skipped("power", "this machine does not tell")


def _temperature(machine: Machine) -> Check:
    zones = sorted(machine.path("/sys/class/thermal").glob("thermal_zone*"))
    readings = [machine.number(f"/sys/class/thermal/{zone.name}/temp") for zone in zones]
    hottest = max((reading for reading in readings if reading is not None), default=None)
    if hottest is None:
        return skipped("temperature", "this machine does not tell")
    celsius = hottest / 1000
    found = f"{celsius:.0f} °C"
    if celsius >= TOO_HOT_C:
        return failure("temperature", f"{found}: it slows down", COOLING_FIX)
    return warning("temperature", found, COOLING_FIX) if celsius >= HOT_C else ok("temperature", found)


def _processor(machine: Machine, config: Config | None) -> Check:
    text = machine.read("/proc/cpuinfo")
    if not text:
        fix = "no ProcSubset=pid in the unit; the network's library chooses its instructions by it"
        return failure("processor", "/proc/cpuinfo cannot be read", fix)
    cores = sum(line.startswith("processor") for line in text.splitlines())
    fields = machine.fields("/proc/cpuinfo")
    features = set((fields.get("Features") or fields.get("flags") or "").split())
    kind = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76"}
    name = fields.get("model name") or kind.get(fields.get("CPU part", ""), fields.get("CPU part", "unknown"))
    found = f"{cores} x {name}"
    dtype = config.model.dtype if config is not None and chosen_bundle(config) is not None else None
    quick = features & {"asimddp", "avx512_vnni", "avx_vnni"}
    if quick:
        return ok("processor", f"{found}, dot products of int8 ({', '.join(sorted(quick))})")
    measured = (machine.layout.state / bench.FILE).exists()
    if dtype == "int8" or (dtype == "auto" and not measured):
        fix = 'model.dtype = "auto", and let cfvgg-edge bench choose'
        return warning("processor", f"{found}, no dot products of int8: float32 may be as fast", fix)
    return ok("processor", f"{found}, no dot products of int8")


def _governor(machine: Machine) -> Check:
    governor, driver = machine.read(f"{CPUFREQ}/scaling_governor"), machine.read(f"{CPUFREQ}/scaling_driver")
    if governor is None:
        return skipped("governor", "the frequency is not the kernel's to choose")
    if governor == "powersave" and driver not in OWN_WILL:
        fix = f"echo ondemand | sudo tee {CPUFREQ.replace('cpu0', 'cpu*')}/scaling_governor"
        return warning("governor", "powersave: the slowest frequency all the time", fix)
    return ok("governor", governor)
