package tree

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CapabilityXattr is the extended attribute that holds file capabilities.
const CapabilityXattr = "security.capability"

// readXattrs returns the attributes that belong to a package, nil without any.
func readXattrs(path string) (map[string]string, error) {
	names, err := listXattrs(path)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range names {
		if n != CapabilityXattr && !strings.HasPrefix(n, "user.") || strings.HasPrefix(n, "user.overlay.") {
			continue
		}
		v, err := getXattr(path, n)
		if errors.Is(err, unix.ENODATA) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("extended attribute %s: %w", n, err)
		}
		if n == CapabilityXattr {
			v = withoutRoot(v)
		}
		out[n] = string(v)
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

func listXattrs(path string) ([]string, error) {
	b, err := sized(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) || len(b) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("extended attributes: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00"), nil
}

func getXattr(path, name string) ([]byte, error) {
	return sized(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
}

// sized calls get with a buffer that is large enough; sizes may grow between
// two calls.
func sized(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		n, err = get(b)
		if errors.Is(err, unix.ERANGE) {
			continue
		}
		return b[:max(n, 0)], err
	}
}

// The revisions of struct vfs_cap_data (linux/capability.h).
const (
	capRevision2 = 0x02000000
	capRevision3 = 0x03000000
	capEffective = 1
	capSize2     = 20
	capSize3     = 24
)

// withoutRoot turns capabilities that count for one user namespace only, which
// is what a build without root can set, into ordinary ones.
func withoutRoot(b []byte) []byte {
	if len(b) != capSize3 || binary.LittleEndian.Uint32(b)&^capEffective != capRevision3 {
		return b
	}
	out := slices.Clone(b[:capSize2])
	binary.LittleEndian.PutUint32(out, capRevision2|binary.LittleEndian.Uint32(b)&capEffective)
	return out
}

// capabilities in the order of their numbers (capabilities(7), Linux 6.1).
var capabilities = []string{
	"chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
	"net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot",
	"sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease",
	"audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read",
	"perfmon", "bpf", "checkpoint_restore",
}

// Capabilities returns the value of security.capability for text as setcap(8)
// takes it, clauses such as "cap_net_raw,cap_net_admin+ep". The effective flag is
// one for the whole file, as the kernel has it.
func Capabilities(text string) ([]byte, error) {
	var permitted, inheritable, effective uint64
	clauses := strings.Fields(text)
	if len(clauses) == 0 {
		return nil, errors.New("capabilities: none: expected for example \"cap_net_raw+ep\"")
	}
	for _, clause := range clauses {
		i := strings.IndexAny(clause, "+=")
		if i <= 0 || i == len(clause)-1 || strings.Trim(clause[i+1:], "eip") != "" {
			return nil, fmt.Errorf("capabilities %.80q: expected names, \"+\" or \"=\", and some of the letters e, i, p", clause)
		}
		bits, err := capabilityBits(clause[:i])
		if err != nil {
			return nil, err
		}
		for _, flag := range clause[i+1:] {
			switch flag {
			case 'e':
				effective |= bits
			case 'i':
				inheritable |= bits
			case 'p':
				permitted |= bits
			}
		}
	}
	if effective != 0 && effective != permitted|inheritable {
		return nil, fmt.Errorf("capabilities %.80q: e is one flag for the whole file: expected it with all of them or with none", text)
	}
	b := make([]byte, capSize2)
	magic := uint32(capRevision2)
	if effective != 0 {
		magic |= capEffective
	}
	for i, n := range []uint32{magic, uint32(permitted), uint32(inheritable), uint32(permitted >> 32), uint32(inheritable >> 32)} {
		binary.LittleEndian.PutUint32(b[4*i:], n)
	}
	return b, nil
}

func capabilityBits(names string) (bits uint64, err error) {
	for n := range strings.SplitSeq(names, ",") {
		i := slices.Index(capabilities, strings.TrimPrefix(strings.ToLower(n), "cap_"))
		if i < 0 || !strings.HasPrefix(strings.ToLower(n), "cap_") {
			return 0, fmt.Errorf("capability %.40q: expected one of capabilities(7), as in cap_net_raw", n)
		}
		bits |= 1 << i
	}
	return bits, nil
}

// CapabilityText is the inverse of [Capabilities]: "cap_net_raw+ep". It returns
// "" for bytes that are no file capabilities.
func CapabilityText(b []byte) string {
	b = withoutRoot(b)
	if len(b) != capSize2 || binary.LittleEndian.Uint32(b)&^capEffective != capRevision2 {
		return ""
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[4*i:])) }
	permitted, inheritable := word(1)|word(3)<<32, word(2)|word(4)<<32
	e := ""
	if word(0)&capEffective != 0 {
		e = "e"
	}
	var clauses []string
	for _, group := range []struct {
		bits  uint64
		flags string
	}{{permitted & inheritable, e + "ip"}, {permitted &^ inheritable, e + "p"}, {inheritable &^ permitted, e + "i"}} {
		var names []string
		for i, n := range capabilities {
			if group.bits>>i&1 == 1 {
				names = append(names, "cap_"+n)
			}
		}
		if len(names) > 0 {
			clauses = append(clauses, strings.Join(names, ",")+"+"+group.flags)
		}
	}
	return strings.Join(clauses, " ")
}
