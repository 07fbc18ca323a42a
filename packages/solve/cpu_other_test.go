//go:build !linux

package solve

func cpuTime() int64 { return 0 }
