// Package advisory knows what is said of packages' vulnerabilities: it reads feeds,
// keeps them in a form that opens in milliseconds, and says which advisories are
// about a set of packages.
//
// It fetches nothing and judges nothing: a feed is a file that somebody chose, and
// what it does not cover is said. It does not look at software that is no package.
//
//	feed, err := advisory.Read("wolfi.zip", data, advisory.Limits{})
//	feeds := advisory.Feeds{feed}
//	report := feeds.Match(packages, advisory.Options{Distro: "wolfi"})
//	fmt.Println(report.Coverage.Matched, len(report.Findings))
//
// Formats: OSV 1.x JSON (https://ossf.github.io/osv-schema/), single records, lists,
// and zip archives of records, of the ecosystems Wolfi, Chainguard and Alpine; secdb
// JSON as Wolfi, Chainguard and Alpine publish it; and the compiled form of both,
// which [Feed.Marshal] gives.
package advisory

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrFeed is wrapped by every error about the content of a feed.
var ErrFeed = errors.New("not an advisory feed")

// Limits on what a feed may be. Zero fields have defaults.
type Limits struct {
	Bytes   int64 // of all records, inflated; 1 GiB
	Record  int64 // of one record; 16 MiB
	Records int   // 2,000,000
}

func (l Limits) withDefaults() Limits {
	return Limits{cmp.Or(l.Bytes, 1<<30), cmp.Or(l.Record, 16<<20), cmp.Or(l.Records, 2_000_000)}
}

// Meta says what a feed is.
type Meta struct {
	// Name is where it was read from.
	Name string `json:"name"`
	// SHA256 is of the bytes that it was read from.
	SHA256 apk.SHA256 `json:"sha256"`
	// Newest is the newest time that a record was modified; zero when none says so.
	Newest time.Time `json:"newest,omitzero"`
	// Records is their number; Ignored those that are of no ecosystem of packages.
	Records int `json:"records"`
	Ignored int `json:"ignored,omitempty"`
	// Distros are those that it is for: "wolfi", "chainguard", "alpine", and with a
	// release "alpine:v3.19".
	Distros []string `json:"distros"`
}

// Advisory is what is said of one package and one vulnerability.
type Advisory struct {
	// ID is the record's; Aliases are other names of the vulnerability.
	ID      string   `json:"id"`
	Aliases []string `json:"aliases,omitempty"`
	// Severity is critical, high, medium or low; empty when the record has none.
	Severity Severity `json:"severity,omitempty"`
	Summary  string   `json:"summary,omitempty"`
	// Arch is that of the packages that it is about, empty for all.
	Arch string `json:"arch,omitempty"`
	// Ranges are the versions that are affected: from Introduced ("0" is the first) up
	// to, and without, Fixed; empty when there is no fix. Fixed "0" is a false alarm.
	Ranges []Range `json:"ranges,omitempty"`
	// Versions are affected too.
	Versions  []string  `json:"versions,omitempty"`
	Published time.Time `json:"published,omitzero"`
	Modified  time.Time `json:"modified,omitzero"`
	Withdrawn time.Time `json:"withdrawn,omitzero"`
}

// Range is a range of versions, in apk's order.
type Range struct {
	Introduced string `json:"introduced,omitempty"`
	Fixed      string `json:"fixed,omitempty"`
	Last       string `json:"last,omitempty"` // last affected
}

// Feed is a set of advisories by distribution and package, and severities of
// vulnerabilities by their names.
type Feed struct {
	Meta
	// entries are JSON lists of advisories by "distro name"; parsed when they are
	// asked for.
	entries map[string]json.RawMessage
	// severities are by the names of vulnerabilities.
	severities map[string]Severity
}

// Lookup returns what is said of a package of a distribution ("wolfi", or
// "alpine:v3.19").
func (f *Feed) Lookup(distro, name string) []Advisory {
	raw, ok := f.entries[distro+" "+name]
	if !ok {
		return nil
	}
	var out []Advisory
	if json.Unmarshal(raw, &out) != nil {
		return nil // what Marshal wrote, or Read made
	}
	return out
}

// builder gathers advisories.
type builder struct {
	meta       Meta
	limits     Limits
	read       int64
	advisories map[string][]Advisory
	severities map[string]Severity
	distros    map[string]bool
}

// Read reads a feed. name tells a reader where it is from, and is no more than that.
// The errors wrap [ErrFeed] and name the record.
func Read(name string, data []byte, limits Limits) (*Feed, error) {
	b := newBuilder(name, limits)
	b.meta.SHA256 = sumOf(data)
	if bytes.HasPrefix(data, []byte(magic)) {
		f, err := unmarshal(data)
		if err != nil {
			return nil, fmt.Errorf("feed %s: %w: %w", name, ErrFeed, err)
		}
		f.Name = name
		return f, nil
	}
	if err := b.any(path.Base(name), data); err != nil {
		return nil, fmt.Errorf("feed %s: %w: %w", name, ErrFeed, err)
	}
	if b.meta.Records == 0 {
		return nil, fmt.Errorf("feed %s: %w: no record in it", name, ErrFeed)
	}
	return b.feed()
}

// ReadAll reads records that are files of their own, such as those of a directory.
// next returns the name and the bytes of one after the other, and io.EOF at the end.
func ReadAll(name string, limits Limits, next func() (string, []byte, error)) (*Feed, error) {
	b := newBuilder(name, limits)
	sum := sha256.New()
	for {
		file, data, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(sum, "%s\x00%d\x00", file, len(data))
		sum.Write(data)
		if err := b.any(file, data); err != nil {
			return nil, fmt.Errorf("feed %s: %s: %w: %w", name, file, ErrFeed, err)
		}
	}
	sum.Sum(b.meta.SHA256[:0])
	if b.meta.Records == 0 {
		return nil, fmt.Errorf("feed %s: %w: no record in it", name, ErrFeed)
	}
	return b.feed()
}

func sumOf(data []byte) apk.SHA256 { return sha256.Sum256(data) }

func newBuilder(name string, limits Limits) *builder {
	return &builder{meta: Meta{Name: name}, limits: limits.withDefaults(), advisories: map[string][]Advisory{}, severities: map[string]Severity{}, distros: map[string]bool{}}
}

// any reads a file of whatever form.
func (b *builder) any(name string, data []byte) error {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return b.zip(data)
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return err
		}
		inflated, err := io.ReadAll(io.LimitReader(z, b.limits.Bytes-b.read+1))
		if err != nil {
			return err
		}
		if int64(len(inflated)) > b.limits.Bytes-b.read {
			return fmt.Errorf("inflates to more than %d bytes", b.limits.Bytes)
		}
		return b.json(name, inflated)
	}
	return b.json(name, data)
}

func (b *builder) zip(data []byte) error {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if f.FileInfo().IsDir() || !strings.HasSuffix(f.Name, ".json") {
			continue
		}
		rc, err := f.Open()
		if err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
		record, err := io.ReadAll(io.LimitReader(rc, b.limits.Record+1))
		rc.Close()
		if err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
		if int64(len(record)) > b.limits.Record {
			return fmt.Errorf("%.200q: more than %d bytes", f.Name, b.limits.Record)
		}
		if err := b.json(f.Name, record); err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
	}
	return nil
}

// json reads a document: an OSV record, a list of such, or a secdb.
func (b *builder) json(name string, data []byte) error {
	if b.read += int64(len(data)); b.read > b.limits.Bytes {
		return fmt.Errorf("more than %d bytes", b.limits.Bytes)
	}
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '[' {
		var list []osvRecord
		if err := json.Unmarshal(data, &list); err != nil {
			return position(data, err)
		}
		for i := range list {
			if err := b.osv(&list[i]); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	}
	var doc struct {
		osvRecord
		secdb
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return position(data, err)
	}
	switch {
	case doc.Packages != nil:
		return b.secdb(&doc.secdb)
	case doc.ID != "":
		return b.osv(&doc.osvRecord)
	}
	return errors.New("found neither an OSV record (id) nor a secdb (packages)")
}

// position adds line and column to an error of JSON.
func position(data []byte, err error) error {
	at := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &kind):
		at = kind.Offset
	}
	if at <= 0 || at > int64(len(data)) {
		return err
	}
	before := data[:at-1] // the offset is behind the byte
	line := 1 + bytes.Count(before, []byte("\n"))
	return fmt.Errorf("%d:%d: %w", line, at-1-int64(bytes.LastIndexByte(before, '\n')), err)
}

func (b *builder) count() error {
	if b.meta.Records++; b.meta.Records > b.limits.Records {
		return fmt.Errorf("more than %d records", b.limits.Records)
	}
	return nil
}

func (b *builder) add(distro, name string, a Advisory) {
	b.distros[distro] = true
	key := distro + " " + name
	b.advisories[key] = append(b.advisories[key], a)
	if a.Modified.After(b.meta.Newest) {
		b.meta.Newest = a.Modified
	}
}

// feed finishes, in an order that follows from the content.
func (b *builder) feed() (*Feed, error) {
	f := &Feed{Meta: b.meta, entries: map[string]json.RawMessage{}, severities: b.severities}
	f.Newest = f.Newest.UTC()
	f.Distros = []string{}
	for d := range b.distros {
		f.Distros = append(f.Distros, d)
	}
	slices.Sort(f.Distros)
	for key, list := range b.advisories {
		slices.SortStableFunc(list, func(x, y Advisory) int {
			return cmp.Or(strings.Compare(x.ID, y.ID), strings.Compare(x.Arch, y.Arch))
		})
		raw, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		f.entries[key] = raw
	}
	return f, nil
}
