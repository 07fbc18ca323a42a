package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// signalNames returns the signals of Linux by number; index 0 is none.
func signalNames() []string {
	return strings.Fields("EXIT HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM " +
		"STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")
}

// maxSignal is SIGRTMAX.
const maxSignal = 64

// validSignal reads what container engines accept: a number, or a name in any
// case with or without SIG.
func validSignal(v string) bool {
	if n, err := strconv.Atoi(v); err == nil {
		return 1 <= n && n <= maxSignal
	}
	name := strings.TrimPrefix(strings.ToUpper(v), "SIG")
	if slices.Contains(signalNames()[1:], name) {
		return true
	}
	switch name {
	case "IOT", "CLD", "POLL", "UNUSED", "RTMIN", "RTMAX":
		return true
	}
	for prefix, most := range map[string]int{"RTMIN+": 15, "RTMAX-": 14} {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			n, err := strconv.Atoi(rest)
			return err == nil && onlyDigits(rest) && n <= most
		}
	}
	return false
}

func checkSignal(c *checker, at place, v string) {
	if v == "" || validSignal(v) {
		return
	}
	hint := ""
	if near := spelling.Nearest(strings.TrimPrefix(strings.ToUpper(v), "SIG"), signalNames()[1:]); near != "" {
		hint = "did you mean SIG" + near + "?"
	}
	c.problem(at, impossible, "found "+describe(at.n)+", expected a signal such as SIGTERM, SIGRTMIN+3 or 15", hint)
}
