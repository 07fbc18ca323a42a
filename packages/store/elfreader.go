package store

import "github.com/cairn-dev/cairn/packages/apk"

// ELFReader finds the ELF facts of regular files that stream by, for callers
// whose files come from elsewhere than packages. The zero value is ready; it is
// used for one file after the other.
type ELFReader struct{ capture elfCapture }

// Begin starts a file of that many bytes.
func (r *ELFReader) Begin(size int64) { r.capture.begin(size) }

// Write takes the next bytes of the file. It never fails.
func (r *ELFReader) Write(p []byte) (int, error) {
	r.capture.write(p)
	return len(p), nil
}

// Facts returns what the file says of itself, nil when it is no ELF file. What
// lies beyond the first 8 MiB and outside of the dynamic section is not seen.
func (r *ELFReader) Facts() *apk.ELF { return r.capture.done() }
