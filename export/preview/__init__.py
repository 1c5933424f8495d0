"""The preview's end on the workstation: ssh to the device, and one page for the browser. Needs no torch."""
