package repository

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
)

// What clients may keep: packages never change under one name, indexes do.
const (
	cachePackage = "public, max-age=31536000, immutable"
	cacheOther   = "public, max-age=10, must-revalidate"
)

// Handler serves the files of a repository below dir: packages, indexes and keys,
// to GET and HEAD, with ranges, entity tags and modification times. Directories
// are not listed, files whose name begins with a dot and locks are not served,
// and no symbolic link leads out of dir. Close ends the use of dir.
type Handler struct{ root *os.Root }

// NewHandler opens dir.
func NewHandler(dir string) (*Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", dir, pathProblem(err))
	}
	return &Handler{root}, nil
}

// Close ends the use of the directory.
func (h *Handler) Close() error { return h.root.Close() }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed: expected GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if !served(name) {
		http.NotFound(w, r)
		return
	}
	f, err := h.root.Open(name)
	if err != nil {
		status := http.StatusNotFound // also for what leads out of the root
		if errors.Is(err, fs.ErrPermission) {
			status = http.StatusForbidden
		}
		http.Error(w, http.StatusText(status), status)
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentType(name))
	header.Set("Cache-Control", cacheOther)
	if strings.HasSuffix(name, ".apk") {
		header.Set("Cache-Control", cachePackage)
	}
	header.Set("ETag", fmt.Sprintf("\"%x-%x\"", fi.ModTime().UnixNano(), fi.Size()))
	header.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", fi.ModTime(), f)
}

// served reports whether a path may be asked for.
func served(name string) bool {
	if name == "" || path.Clean(name) != name || strings.HasSuffix(name, ".lock") || isTemporary(name) || strings.Contains(name, "\\") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".rsa") {
			return false // .. and what writers leave; private keys
		}
	}
	return true
}

func contentType(name string) string {
	switch {
	case strings.HasSuffix(name, ".apk"):
		return "application/vnd.alpine.apk"
	case strings.HasSuffix(name, ".tar.gz"):
		return "application/gzip"
	case strings.HasSuffix(name, ".pub"):
		return "application/x-pem-file"
	case strings.HasSuffix(name, ".json"):
		return "application/json"
	}
	return "application/octet-stream"
}
