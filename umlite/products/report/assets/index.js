/* Starts the index of several reports. */

startTheme();
startTables();
