package ldcache

import "github.com/cairn-dev/cairn/packages/apk"

// The values of ELF header fields that decide on the flags (System V gABI and
// the processor supplements).
const (
	class64    = 2
	dataLittle = 1
	dataBig    = 2
	typeDyn    = 3

	machineSPARC     = 2
	machine386       = 3
	machineMIPS      = 8
	machinePPC       = 20
	machinePPC64     = 21
	machineS390      = 22
	machineARM       = 40
	machineSPARCV9   = 43
	machineX8664     = 62
	machineAARCH64   = 183
	machineRISCV     = 243
	machineLOONGARCH = 258
	armABIMask       = 0xff000000
	armABI5          = 0x05000000
	armFloatSoft     = 0x200
	armFloatHard     = 0x400
	riscvCompressed  = 0x1
	riscvFloatMask   = 0x6
	riscvFloatSoft   = 0x0
	riscvFloatDouble = 0x4
	larchFloatMask   = 0x7
	larchFloatSoft   = 0x1
	larchFloatDouble = 0x3
	mipsABI2         = 0x20
	mipsNaN2008      = 0x400
)

// The flags of an entry (FLAG_… in glibc's ldconfig.h): the low byte says that
// the library is for glibc's libc.so.6, the high byte which ABI it needs.
const (
	flagLibc6          = 0x0003
	flagSPARC64        = 0x0100
	flagX8664          = 0x0300
	flagS390x          = 0x0400
	flagPPC64          = 0x0500
	flagMIPSN32        = 0x0600
	flagMIPSN64        = 0x0700
	flagX32            = 0x0800
	flagARMHard        = 0x0900
	flagAARCH64        = 0x0a00
	flagARMSoft        = 0x0b00
	flagMIPS32NaN2008  = 0x0c00
	flagMIPSN32NaN2008 = 0x0d00
	flagMIPSN64NaN2008 = 0x0e00
	flagRISCVSoft      = 0x0f00
	flagRISCVDouble    = 0x1000
	flagLARCHSoft      = 0x1100
	flagLARCHDouble    = 0x1200
)

// cacheFlags returns the flags of a shared object, false for files that ldconfig
// leaves out.
func cacheFlags(e *apk.ELF) (uint32, bool) {
	if e.Type != typeDyn || e.Data != dataLittle && e.Data != dataBig {
		return 0, false
	}
	abi, ok := uint32(0), true
	wide := e.Class == class64
	switch e.Machine {
	case machineX8664:
		abi = choose(wide, flagX8664, flagX32)
	case machineAARCH64:
		abi = flagAARCH64
	case machineARM:
		abi = armABI(e.Flags)
	case machinePPC64:
		abi = flagPPC64
	case machineS390:
		abi = choose(wide, flagS390x, 0)
	case machineSPARCV9:
		abi = choose(wide, flagSPARC64, 0)
	case machineRISCV:
		abi, ok = riscvABI(e.Flags)
	case machineLOONGARCH:
		abi, ok = loongarchABI(e.Flags)
	case machineMIPS:
		abi = mipsABI(e.Flags, wide)
	}
	return abi | flagLibc6, ok
}

func choose(wide bool, if64, if32 uint32) uint32 {
	if wide {
		return if64
	}
	return if32
}

func armABI(flags uint32) uint32 {
	switch {
	case flags&armABIMask != armABI5:
		return 0
	case flags&armFloatHard != 0:
		return flagARMHard
	case flags&armFloatSoft != 0:
		return flagARMSoft
	}
	return 0
}

func riscvABI(flags uint32) (uint32, bool) {
	if flags&^(riscvCompressed|riscvFloatMask) != 0 {
		return 0, false
	}
	switch flags & riscvFloatMask {
	case riscvFloatSoft:
		return flagRISCVSoft, true
	case riscvFloatDouble:
		return flagRISCVDouble, true
	}
	return 0, false
}

func loongarchABI(flags uint32) (uint32, bool) {
	switch flags & larchFloatMask {
	case larchFloatSoft:
		return flagLARCHSoft, true
	case larchFloatDouble:
		return flagLARCHDouble, true
	}
	return 0, false
}

func mipsABI(flags uint32, wide bool) uint32 {
	nan2008 := flags&mipsNaN2008 != 0
	switch {
	case wide && nan2008:
		return flagMIPSN64NaN2008
	case wide:
		return flagMIPSN64
	case flags&mipsABI2 != 0 && nan2008:
		return flagMIPSN32NaN2008
	case flags&mipsABI2 != 0:
		return flagMIPSN32
	case nan2008:
		return flagMIPS32NaN2008
	}
	return 0
}
