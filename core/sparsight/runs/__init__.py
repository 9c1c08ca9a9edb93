"""A run directory: its event files, who may record into it, writing and reading it.

What TensorBoard 2.21 does with event files, as measured, and what we do about it. It has two
loaders. The Rust one serves Linux x86_64 and Intel Macs; everybody else, and every `s3://` log
directory, gets the Python one. Tests run both.

- A summary without `data_class` is invisible to the Rust loader, and a NaN wall time makes it drop
  the rest of the file. Neither is ever written.
- When a run resumes at a lower step, the Rust loader drops the old steps from there on; the Python
  one keeps both. `reader` follows the Rust loader. So whoever fills in an earlier step, as a late
  checkpoint does, writes the later ones again after it, all in one new file: a part of them would
  hide the rest.
- Both keep only the first metadata of a tag. So a tag ends in a hash of its metadata, and a layer
  whose shape changed gets a tag of its own.
- A second file in a run directory freezes the user's own curves in the Python loader. So we share
  the user's `SummaryWriter` where there is one; else our file sorts first, and is flushed after
  every epoch. A `SummaryWriter` whose thread met a full disk is dead for good: then, and where the
  directory was deleted, recording goes on in a file of our own.
- Files are read by name and merged by wall time. So a file of ours sorts after all that hold our
  records, shared ones too, and its wall times follow theirs, whatever the clock says. A new process
  writes a new file and never appends to an old one.
- Both keep the part of a record that they have read, and wait for the rest. A file that is cut back
  under a reader and grows otherwise is garbage to it from there on. So a record that a full disk
  cut short stays in memory and is finished when there is room; it is cut back only where the file
  is left for good. A new file appears whole, by a rename.
- SessionLog START purges a run's tags, so none is written.
- TensorBoard's own CRC is pure Python, 3 to 6 MB/s, and its make_tensor_proto is slow. So `events`
  builds the protos with `tensor_content`, frames the records, and takes google-crc32c.

A step is one event. The table comes last in it: whoever sees a table finds its maps too.
"""
