package sbom

import (
	"encoding/hex"
	"encoding/json"

	"github.com/cairn-dev/cairn/packages/apk"
)

// The elements of which a document has thousands append their JSON themselves;
// encoding/json takes several times as long. The bytes are the same.

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return appendUnusual(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendUnusual leaves everything that has to be escaped to encoding/json.
func appendUnusual(b []byte, s string) []byte {
	var out quoted
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("sbom: a string that is no JSON: " + err.Error()) // there is none
	}
	return append(b, out[:len(out)-1]...) // but the line's end
}

// quoted collects what an encoder writes.
type quoted []byte

func (q *quoted) Write(p []byte) (int, error) {
	*q = append(*q, p...)
	return len(p), nil
}

// appendMember appends a comma, a name and a string.
func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendHashes appends the two digests of a file in the words of a format.
func appendHashes(b []byte, d *digest, first, second, end string) []byte {
	b = append(b, first...)
	b = hex.AppendEncode(b, d.sha1[:])
	b = append(b, second...)
	b = hex.AppendEncode(b, d.sha256[:])
	return append(b, end...)
}

func (r spdxRelationship) appendJSON(b []byte) []byte {
	b = append(b, `{"spdxElementId":`...)
	b = appendString(b, r.From)
	b = appendMember(b, "relationshipType", r.Type)
	b = appendMember(b, "relatedSpdxElement", r.To)
	return append(b, '}')
}

// spdxFile is a file in SPDX's words.
type spdxFile struct {
	id, path, comment string
	elf               bool
	sums              *digest
}

func (f *spdxFile) appendJSON(b []byte) []byte {
	b = append(b, `{"SPDXID":`...)
	b = appendString(b, spdxRef+f.id)
	b = appendMember(b, "fileName", "./"+f.path)
	if f.elf {
		b = append(b, `,"fileTypes":["BINARY"]`...)
	}
	b = appendHashes(b, f.sums,
		`,"checksums":[{"algorithm":"SHA1","checksumValue":"`, `"},{"algorithm":"SHA256","checksumValue":"`, `"}]`)
	b = append(b, `,"licenseConcluded":"`+noAssertion+`","copyrightText":"`+noAssertion+`"`...)
	if f.comment != "" {
		b = appendMember(b, "comment", f.comment)
	}
	return append(b, '}')
}

// cdxFile is a file in CycloneDX's words: the part of a component that a file
// needs.
type cdxFile struct {
	id, path, description string
	sums                  *digest
}

func (f *cdxFile) appendJSON(b []byte) []byte {
	b = append(b, `{"bom-ref":`...)
	b = appendString(b, f.id)
	b = append(b, `,"type":"file"`...)
	b = appendMember(b, "name", "/"+f.path)
	if f.description != "" {
		b = appendMember(b, "description", f.description)
	}
	return appendHashes(b, f.sums,
		`,"hashes":[{"alg":"SHA-1","content":"`, `"},{"alg":"SHA-256","content":"`, `"}]}`)
}

// isFile reports whether documents list an entry of that type.
func isFile(t apk.EntryType) bool {
	return t == apk.TypeFile || t == apk.TypeHardlink || t == apk.TypeSymlink
}
