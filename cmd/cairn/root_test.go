package main

import "testing"

// Levels of the log and the two switches that they stand for.
func TestLogLevel(t *testing.T) {
	for _, c := range []struct {
		level           string
		verbose, quiet  bool // given
		wantV, wantQ, w bool // warnings
	}{
		{"info", false, false, false, false, true},
		{"debug", false, false, true, false, true},
		{"WARN", false, false, false, true, true},
		{"warning", false, false, false, true, true},
		{"error", false, false, false, true, false},
		{"panic", false, false, false, true, false},
		{"fatal", true, false, true, false, true},
		{"debug", false, true, false, true, false},
		{"warn", true, false, true, false, true},
		{"warn", false, true, false, true, false},
		{"info", false, true, false, true, false},
	} {
		a := &app{logLevel: c.level, verbose: c.verbose, quiet: c.quiet}
		if err := a.applyLogLevel(); err != nil || a.verbose != c.wantV || a.quiet != c.wantQ || a.warnings != c.w {
			t.Errorf("%s, -v %v, -q %v: verbose %v, quiet %v, warnings %v, %v", c.level, c.verbose, c.quiet, a.verbose, a.quiet, a.warnings, err)
		}
	}
	if err := (&app{logLevel: ""}).applyLogLevel(); err == nil || exitCode(err) != exitUsage {
		t.Errorf("no level: %v", err)
	}
}

// Paths of the command line are taken from the working directory that is given.
func TestAt(t *testing.T) {
	for _, c := range [][3]string{{"", "x", "x"}, {"", "", ""}, {"w", "", ""}, {"w", "x", "w/x"}, {"w", "../x", "x"}, {"w", "/x", "/x"}, {"/w", "./x/", "/w/x"}} {
		if got := (&app{workdir: c[0]}).at(c[1]); got != c[2] {
			t.Errorf("%q in %q: %q, expected %q", c[1], c[0], got, c[2])
		}
	}
}
