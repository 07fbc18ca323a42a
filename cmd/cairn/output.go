package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// format is the value of --format: a rendering, never a path.
type format string

// The renderings that every command knows; anything else must be a template.
const (
	formatTable format = "table"
	formatJSON  format = "json"
)

// checkFormat refuses what is neither a known rendering nor a template.
func checkFormat(f format) error {
	switch {
	case f == formatTable, f == formatJSON:
		return nil
	case strings.Contains(string(f), "{{"):
		if _, err := parseTemplate(f); err != nil {
			return usageError{fmt.Errorf("--format: %w", err)}
		}
		return nil
	}
	return usageError{fmt.Errorf("--format: found %q, expected table, json or a Go template", f)}
}

func parseTemplate(f format) (*template.Template, error) {
	text := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(string(f))
	return template.New("format").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join": func(sep string, s []string) string { return strings.Join(s, sep) },
	}).Parse(text)
}

// render prints value: as JSON, by template, or with table. A template runs
// once for each element when value is a list.
func render[T any](w io.Writer, f format, value T, each []any, table func(io.Writer) error) error {
	switch {
	case f == formatTable:
		return table(w)
	case f == formatJSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	t, err := parseTemplate(f)
	if err != nil {
		return usageError{fmt.Errorf("--format: %w", err)}
	}
	if each == nil {
		each = []any{value}
	}
	for _, v := range each {
		if err := t.Execute(w, v); err != nil {
			return usageError{fmt.Errorf("--format: %w", err)}
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// elements makes a list of any for render.
func elements[T any](s []T) []any {
	out := make([]any, len(s))
	for i := range s {
		out[i] = s[i]
	}
	return out
}

// bytesText spells a size for people: 1.5 MB, 300 B; powers of ten.
func bytesText(n int64) string {
	const units = "kMGT"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 999.5 && i < len(units)-1 {
		f, i = f/1000, i+1
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %cB", f, units[i])
	}
	return fmt.Sprintf("%.0f %cB", f, units[i])
}
