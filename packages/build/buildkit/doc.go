// Package buildkit runs the steps of a build on BuildKit daemons, on this machine
// or others. The environment is an image in an OCI layout, so that a daemon takes
// each layer once; what the steps wrote comes back as a tar with owners, modes,
// attributes and hard links, which packages/build/unpack unpacks.
//
// A daemon that stops answering is left, and what ran on it runs again on another.
// Steps have no network unless the job says so. [Workers] know nothing of definitions
// and packages; [Runner] runs with them what packages/build runs elsewhere in sandboxes.
//
//	workers, err := buildkit.Connect(ctx, []string{"tcp://10.0.0.1:1234", "tcp://10.0.0.2:1234"})
//	if err != nil {
//		return err
//	}
//	defer workers.Close()
//	digest, err := buildkit.WriteImage(ctx, "environment", "amd64", layers)
//	if err != nil {
//		return err
//	}
//	err = workers.Run(ctx, buildkit.Job{
//		Layout: "environment", Image: digest, Arch: "amd64",
//		Workspace: "sources", Dir: "/home/build", Result: "/home/build/melange-out",
//		Steps: []buildkit.Step{{Args: []string{"/bin/sh", "-c", "make install"}, Dir: "/home/build"}},
//		Log: log, Out: file,
//	})
package buildkit
