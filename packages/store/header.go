package store

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

const blockSize = 512

// The type flags of POSIX pax and GNU tar that can stand in a package.
const (
	flagFile     = '0'
	flagHardlink = '1'
	flagSymlink  = '2'
	flagChar     = '3'
	flagBlock    = '4'
	flagDir      = '5'
	flagFIFO     = '6'
	flagPAX      = 'x'
	flagGlobal   = 'g'
	flagLongName = 'L'
	flagLongLink = 'K'
)

// header is one 512-byte header block, with the values of the extended headers
// before it once they are applied.
type header struct {
	name, link   string
	flag         byte
	mode         uint32
	uid, gid     int64
	size, mtime  int64
	uname, gname string
	major, minor int64
}

// parseHeader reads a header block (POSIX.1-2017 pax, "ustar Interchange
// Format"; GNU tar's variant of it). The error text says what is wrong.
func parseHeader(b []byte) (header, error) {
	h := header{flag: b[156]}
	posix := string(b[257:265]) == "ustar\x0000"
	switch gnu := string(b[257:265]) == "ustar  \x00"; {
	case !posix && !gnu:
		return h, fmt.Errorf("not a ustar or GNU header")
	case gnu && b[345] != 0, posix && string(b[508:512]) == "tar\x00":
		return h, fmt.Errorf("old GNU or star header with extra fields")
	}
	var p numbers
	if sum := p.octal(b[148:156]); sum != headerSum(b) {
		return h, fmt.Errorf("header checksum is %d, the header says %d", headerSum(b), sum)
	}
	h.mode = uint32(p.number(b[100:108]) & 0o7777)
	h.uid, h.gid = p.number(b[108:116]), p.number(b[116:124])
	h.size, h.mtime = p.number(b[124:136]), p.number(b[136:148])
	h.major, h.minor = p.number(b[329:337]), p.number(b[337:345])
	if h.flag != flagChar && h.flag != flagBlock {
		h.major, h.minor = 0, 0
	}
	if p.bad != "" {
		return h, fmt.Errorf("number %q in the header", p.bad)
	}
	h.name, h.link = field(b[0:100]), field(b[157:257])
	h.uname, h.gname = field(b[265:297]), field(b[297:329])
	if prefix := field(b[345:500]); posix && prefix != "" {
		h.name = prefix + "/" + h.name
	}
	return h, nil
}

func headerSum(b []byte) (sum int64) {
	for i, c := range b[:blockSize] {
		if i >= 148 && i < 156 {
			c = ' '
		}
		sum += int64(c)
	}
	return sum
}

// field returns the text up to the first NUL.
func field(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// numbers reads numeric fields and remembers the first bad one.
type numbers struct{ bad string }

func (p *numbers) octal(b []byte) int64 {
	digits := bytes.Trim(b, " \x00")
	var n int64
	for _, c := range digits {
		if c < '0' || c > '7' {
			p.fail(b)
			return 0
		}
		n = n<<3 | int64(c-'0') // at most 12 digits: 36 bits
	}
	return n
}

// number reads an octal field or GNU's base-256 one (bit 7 of the first byte
// set, then a big-endian number).
func (p *numbers) number(b []byte) int64 {
	if b[0]&0x80 == 0 {
		return p.octal(b)
	}
	n := int64(b[0] & 0x7f)
	if b[0] == 0xff { // negative: only times before 1970
		n = -1
	}
	for _, c := range b[1:] {
		if n > math.MaxInt64>>8 || n < math.MinInt64>>8 {
			p.fail(b)
			return 0
		}
		n = n<<8 | int64(c)
	}
	return n
}

func (p *numbers) fail(b []byte) {
	if p.bad == "" {
		p.bad = string(b)
	}
}

// extended is what pax extended headers and GNU long names say about the next
// member.
type extended struct {
	start    int64 // of the first extended header block; -1: there is none
	pax, gnu bool
	name     string
	link     string
	uname    string
	gname    string
	size     int64 // -1: not given, like the rest
	uid, gid int64
	mtime    int64
	hasMTime bool
	sha1     apk.SHA1
	xattrs   map[string]string
}

func noExtended() extended { return extended{start: -1, size: -1, uid: -1, gid: -1} }

// overlay makes the extended values the header's.
func (x *extended) overlay(h *header) {
	set := func(to *string, s string) {
		if s != "" {
			*to = s
		}
	}
	set(&h.name, x.name)
	set(&h.link, x.link)
	set(&h.uname, x.uname)
	set(&h.gname, x.gname)
	for _, v := range []struct {
		to   *int64
		from int64
	}{{&h.size, x.size}, {&h.uid, x.uid}, {&h.gid, x.gid}} {
		if v.from >= 0 {
			*v.to = v.from
		}
	}
	if x.hasMTime {
		h.mtime = x.mtime
	}
}

// parsePAX reads the records of a pax extended header: "LENGTH KEY=VALUE\n",
// the decimal length counting the whole record. seen is working space.
func parsePAX(b []byte, seen map[string]bool, fn func(key, value string) error) error {
	clear(seen)
	for len(b) > 0 {
		digits, _, ok := bytes.Cut(b[:min(len(b), 10)], []byte(" "))
		n, err := strconv.ParseUint(string(digits), 10, 31)
		if !ok || err != nil || int(n) > len(b) || int(n) < len(digits)+3 || b[n-1] != '\n' {
			return fmt.Errorf("malformed pax record %.40q", b)
		}
		record := string(b[len(digits)+1 : n-1])
		key, value, ok := strings.Cut(record, "=")
		if !ok || key == "" || strings.IndexByte(key, 0) >= 0 {
			return fmt.Errorf("malformed pax record %.40q", b)
		}
		if seen[key] {
			return fmt.Errorf("pax record %q appears twice", key)
		}
		seen[key] = true
		if err := fn(key, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

const (
	paxXattr    = "SCHILY.xattr."
	paxChecksum = "APK-TOOLS.checksum.SHA1"
)

// record takes one pax record. Keys that no unpacker of images heeds (times of
// access, file flags, ACLs as text) are passed over.
func (x *extended) record(key, value string) (err error) {
	switch key {
	case "path":
		err = setText(&x.name, key, value)
	case "linkpath":
		err = setText(&x.link, key, value)
	case "uname":
		x.uname = value
	case "gname":
		x.gname = value
	case "size":
		x.size, err = paxNumber(key, value)
	case "uid":
		x.uid, err = paxNumber(key, value)
	case "gid":
		x.gid, err = paxNumber(key, value)
	case "mtime":
		x.hasMTime = true
		x.mtime, err = paxTime(value)
	case paxChecksum:
		err = x.checksum(value)
	default:
		return x.otherRecord(key, value)
	}
	return err
}

func (x *extended) otherRecord(key, value string) error {
	if strings.HasPrefix(key, "GNU.sparse.") {
		return fmt.Errorf("sparse file")
	}
	name, ok := strings.CutPrefix(key, paxXattr)
	if !ok {
		return nil
	}
	if name == "" || indexControl(name) >= 0 || len(name) > maxComponent {
		return fmt.Errorf("extended attribute name %.60q", name)
	}
	if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") {
		return fmt.Errorf("extended attribute %s, which steers overlay file systems", name)
	}
	if x.xattrs == nil {
		x.xattrs = map[string]string{}
	}
	x.xattrs[name] = value
	return nil
}

func (x *extended) checksum(value string) error {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != len(x.sha1) {
		return fmt.Errorf("%s is %.60q, expected 40 hexadecimal digits", paxChecksum, value)
	}
	copy(x.sha1[:], b)
	return nil
}

func setText(to *string, key, value string) error {
	if value == "" || strings.IndexByte(value, 0) >= 0 {
		return fmt.Errorf("pax record %s is %.60q", key, value)
	}
	*to = value
	return nil
}

func paxNumber(key, value string) (int64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("pax record %s is %.60q", key, value)
	}
	return int64(n), nil
}

// paxTime returns the whole seconds of a decimal time, rounded down as
// unpackers do.
func paxTime(value string) (int64, error) {
	whole, fraction, _ := strings.Cut(value, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(fraction, "0123456789") != "" {
		return 0, fmt.Errorf("pax record mtime is %.60q", value)
	}
	if strings.HasPrefix(whole, "-") && strings.Trim(fraction, "0") != "" && n > math.MinInt64 {
		n--
	}
	return n, nil
}
