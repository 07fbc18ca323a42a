package imagetest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The elements of JUnit's XML that test viewers agree on.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr"`
		Line    int           `xml:"line,attr"`
		Time    string        `xml:"time,attr,omitempty"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
		Stdout  string        `xml:"system-out,omitempty"`
		Stderr  string        `xml:"system-err,omitempty"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit's XML. The same outcome gives the same
// bytes: no time is in it unless it was measured.
func (r *Report) WriteJUnit(w io.Writer) error {
	out := junitSuites{Tests: r.Passed + r.Failed + r.NotRun, Failures: r.Failed, Skipped: r.NotRun}
	for _, s := range r.Suites {
		js := junitSuite{Name: s.File + " on " + s.Platform, Tests: len(s.Tests)}
		for _, t := range s.Tests {
			c := junitCase{Class: t.Kind, Name: t.Name, File: s.File, Line: t.Line, Stdout: printable(t.Stdout), Stderr: printable(t.Stderr)}
			if t.Seconds != nil {
				c.Time = fmt.Sprintf("%.3f", *t.Seconds)
			}
			m := &junitMessage{Text: printable(strings.Join(t.Messages, "\n"))}
			if len(t.Messages) > 0 {
				m.Message = printable(t.Messages[0])
			}
			switch t.Status {
			case Failed:
				js.Failures++
				c.Failure = m
			case NotRun:
				js.Skipped++
				c.Skipped = m
			}
			js.Cases = append(js.Cases, c)
		}
		out.Suites = append(out.Suites, js)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable leaves out what XML 1.0 cannot hold.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c == utf8.RuneError || c < 0x20 && c != '\n' && c != '\t' || c == 0xFFFE || c == 0xFFFF {
			return -1
		}
		return c
	}, s)
}
