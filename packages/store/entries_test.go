package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestListsOfFilesCanBeCarried(t *testing.T) {
	r := carried(t)
	b := AppendEntries(nil, r.Entries, r.Contents)
	entries, contents, err := ParseEntries(b, len(r.Entries))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(r.Entries) || string(contents["etc/passwd"]) != string(r.Contents["etc/passwd"]) {
		t.Fatalf("%d entries, contents %q", len(entries), contents)
	}
	for i := range entries {
		want := r.Entries[i]
		want.HeaderOffset, want.DataOffset = 0, 0
		if e := entries[i]; e.Path != want.Path || e.Type != want.Type || e.SHA256 != want.SHA256 || e.Link != want.Link || e.HeaderOffset != 0 || e.DataOffset != 0 {
			t.Errorf("found %+v, expected %+v", e, want)
		}
	}
	if again := AppendEntries(nil, entries, contents); !bytes.Equal(again, b) {
		t.Error("written again it is another")
	}
	if entries, contents, err := ParseEntries(AppendEntries(nil, nil, nil), 0); err != nil || len(entries)+len(contents) != 0 {
		t.Errorf("nothing: %v, %v, %v", entries, contents, err)
	}
}

func TestParseEntriesRefuses(t *testing.T) {
	r := carried(t)
	list := AppendEntries(nil, r.Entries, r.Contents)
	one := AppendEntries(nil, r.Entries[:1], nil)
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"too many", list, "entries, at most 3 are allowed"},
		{"too many, and not counted", bytes.Repeat(one[len(appendUint(nil, fieldEntryCount, 1)):], 4), "more than 3 entries"},
		{"fewer than counted", appendUint(nil, fieldEntryCount, 2), "0 entries, expected 2"},
		{"a field of receipts", appendReceipt(nil, r), "field 1 in a list of files"},
		{"cut short", one[:len(one)-1], "unexpected EOF"},
	} {
		if entries, _, err := ParseEntries(c.b, 3); !errors.Is(err, errReceipt) || entries != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}
}

// TestManyEntriesTakeNoMemory: what is small when it is carried may be large when
// it is read.
func TestManyEntriesTakeNoMemory(t *testing.T) {
	r := carried(t)
	b := appendUint(nil, fieldFormat, ReceiptFormat)
	b = appendBytes(b, fieldControl, r.Control)
	b = appendUint(b, fieldEntryCount, 1e6+1)
	if _, err := ParseReceipt(b); !errors.Is(err, errReceipt) || !strings.Contains(err.Error(), "1000001 entries, at most 1000000 are allowed") {
		t.Errorf("error %v", err)
	}
}

// TestParseHeaderTakesNoContentOfWhatHasNone: some readers skip as many bytes as a
// header says, others know that a directory has none.
func TestParseHeaderTakesNoContentOfWhatHasNone(t *testing.T) {
	for _, flag := range []byte{flagDir, flagSymlink, flagHardlink, flagFIFO} {
		b := block("a", flag, 512)
		if e, err := ParseHeader(b); err == nil || err.Error() != "content of 512 bytes in a member that is not a regular file" {
			t.Errorf("type %q: %+v, %v", flag, e, err)
		}
		if e, err := ParseHeader(block("a", flag, 0)); err != nil || e.Type == apk.TypeFile {
			t.Errorf("type %q: %+v, %v", flag, e, err)
		}
	}
}
