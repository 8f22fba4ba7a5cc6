"""App layouts: the model folders of apps on people's desks; what goes where depends on what each file is."""
